package server

import (
	"hash/maphash"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/kettubot/kapi/auth"
)

// A fingerprint identifies credentials without storing them. It is a hash with a seed of this process, so
// collisions can't be made on purpose.
type fingerprint uint64

var fingerprints = maphash.MakeSeed()

// credentials returns the fingerprint of a request's credentials, or zero if it has none. It takes the first of
// these that the request has: the Authorization header, the header with half of a session, kapi's cookie, all
// cookies.
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
		_ = h.WriteByte('\n') // never part of a header
	}
	return fingerprint(max(h.Sum64(), 1))
}

const (
	provenFor = time.Minute
	maxProven = 4096
	// provenEach is how many fingerprints are kept for one identity, so that a client can't push out
	// others by sending its token with ever different cookies.
	provenEach = 8
)

// proven remembers which credentials were valid recently. It doesn't authenticate: it only says which
// requests may skip the queue, and whose limit counts during an outage.
type proven struct {
	most int // fingerprints for one identity

	mu   sync.Mutex
	of   map[fingerprint]proof
	each map[string][]fingerprint // by identity, oldest first
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
	if len(p.of) >= maxProven { // all have to prove themselves again
		clear(p.of)
		clear(p.each)
	}
}

func (p *proven) drop(key fingerprint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(key)
}

// remove must be called with mu held.
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
