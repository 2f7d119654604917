package server

import (
	"hash/maphash"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/kettubot/kapi/auth"
)

// A fingerprint tells credentials apart, without keeping them. It is of this process only,
// and nobody can make two that are alike.
type fingerprint uint64

var fingerprints = maphash.MakeSeed()

// credentials returns the fingerprint of what a request says about who sent it, or zero if it says
// nothing. If it carries a token, or a session, the way kapi's come, nothing else counts.
func credentials(r *http.Request) fingerprint {
	lines := r.Header["Authorization"]
	if len(lines) == 0 {
		lines = r.Header[auth.SessionHeader]
	}
	if len(lines) == 0 {
		lines = r.Header["Cookie"]
		for _, c := range r.CookiesNamed(auth.Cookie) {
			if c.Value != "" {
				lines = []string{c.Value}
				break
			}
		}
	}
	if len(lines) == 0 {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(fingerprints)
	for _, line := range lines {
		_, _ = h.WriteString(line)
		_ = h.WriteByte('\n') // no header holds one
	}
	return fingerprint(max(h.Sum64(), 1))
}

const (
	provenFor = time.Minute
	maxProven = 4096
	// provenEach is how many one identity has at most. So it can't push out others by sending its
	// token along with ever different cookies.
	provenEach = 8
)

// proven remembers which credentials were valid lately. It lets nobody in: it only says
// for whose it is worth asking.
type proven struct {
	most int // of one identity

	mu   sync.Mutex
	of   map[fingerprint]proof
	each map[string][]fingerprint // by identity, the oldest first
}

type proof struct {
	id    string
	until time.Time
}

func newProven(most int) *proven {
	return &proven{most: most, of: make(map[fingerprint]proof), each: make(map[string][]fingerprint)}
}

func (p *proven) get(key fingerprint) (id string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of, ok := p.of[key]
	return of.id, ok && time.Now().Before(of.until)
}

func (p *proven) add(key fingerprint, id string) {
	if key == 0 {
		return
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	of, ok := p.of[key]
	if ok && of.id == id && of.until.Sub(now) > provenFor/2 {
		return
	}
	if ok && of.id != id {
		p.remove(key)
	}
	if !ok && len(p.of) >= maxProven {
		p.makeRoom(now)
	}
	if _, ok := p.of[key]; !ok {
		if all := p.each[id]; len(all) >= p.most {
			p.remove(all[0])
		}
		p.each[id] = append(p.each[id], key)
	}
	p.of[key] = proof{id, now.Add(provenFor)}
}

func (p *proven) makeRoom(now time.Time) {
	for k, of := range p.of {
		if !now.Before(of.until) {
			p.remove(k)
		}
	}
	if len(p.of) >= maxProven { // they prove themselves again
		clear(p.of)
		clear(p.each)
	}
}

func (p *proven) drop(key fingerprint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(key)
}

// remove is called with mu held.
func (p *proven) remove(key fingerprint) {
	of, ok := p.of[key]
	if !ok {
		return
	}
	delete(p.of, key)
	rest := slices.DeleteFunc(p.each[of.id], func(k fingerprint) bool { return k == key })
	if len(rest) == 0 {
		delete(p.each, of.id)
		return
	}
	p.each[of.id] = rest
}
