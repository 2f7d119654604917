package server

import (
	"fmt"
	"hash/maphash"
	"math"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/wire"
)

// maxUnproven bounds how many requests are authenticated at a time whose credentials
// have not been seen to be valid. Each asks the store; so a flood that comes faster
// than its answers can't overrun its limit by more than this.
const maxUnproven = 32

// The door finds out who asks and whose rate limit pays for it.
type door struct {
	authenticate func(*http.Request) (auth.Identity, error)

	perIdentity, perAction, perAddress, perProbe, perConnect, perPage *limits

	proven    proven
	reporters proven
	unproven  chan struct{}
}

func newDoor(o Options) *door {
	set := func(rate *float64, standard float64) {
		if *rate == 0 {
			*rate = standard
		}
	}
	set(&o.Rate, 100)
	set(&o.RatePerAddress, 20)
	if o.Burst <= 0 {
		o.Burst = int(min(math.Ceil(2*o.Rate), math.MaxInt32))
	}
	atOnce := int(min(math.Ceil(o.RatePerAddress), math.MaxInt32))
	return &door{
		authenticate: o.Authenticate,
		perIdentity:  newLimits("identity", true, o.Rate, o.Burst),
		perAction:    newLimits("action", false, o.Rate, o.Burst),
		perAddress:   newLimits("address", true, o.RatePerAddress, atOnce),
		perProbe:     newLimits("probe", false, o.RatePerAddress, atOnce),
		perConnect:   newLimits("connect", false, o.Rate, o.Burst),
		perPage:      newPageLimits(o.RatePerAddress),
		proven:       proven{of: make(map[fingerprint]proof)},
		reporters:    proven{of: make(map[fingerprint]proof)},
		unproven:     make(chan struct{}, maxUnproven),
	}
}

// newPageLimits are those of the web page. Its files cost next to nothing, and it is no page
// unless all of them come: so there are more, however few are allowed otherwise.
func newPageLimits(perAddress float64) *limits {
	if perAddress < 0 {
		return nil
	}
	rate := max(10*perAddress, 100)
	return newLimits("page", false, rate, int(min(2*rate, math.MaxInt32)))
}

// enter finds out who asks, and tells how they stand with their limit. stranger says why
// it is not known who asks; limited, that they asked too often.
func (d *door) enter(rt *route, c *call) (stranger, limited error) {
	var a allowance
	switch {
	case rt.probe:
		a = d.perProbe.take(address(c.Request))
	case rt.page:
		a = d.perPage.take(address(c.Request))
	default:
		c.who, a, stranger = d.identify(c.Request, reportOn(rt, c))
		c.w.who = c.who
	}
	a.tell(c.w.Header())
	return stranger, a.refusal()
}

// tell charges and tells the address of a request that got no further.
func (d *door) tell(c *call) {
	if c.w.Header().Get("X-RateLimit-Limit") == "" {
		d.perAddress.take(address(c.Request)).tell(c.w.Header())
	}
}

// identify returns who sent r, and how the one who pays stands: the identity if it is
// valid, else the client's address. An address that has nothing left is not asked who it
// is, unless its credentials were valid a moment ago: a flood must not lock out those
// behind the same address.
func (d *door) identify(r *http.Request, action string) (auth.Identity, allowance, error) {
	key := credentials(r)
	id, proven := d.proven.get(key)
	if !proven {
		select {
		case d.unproven <- struct{}{}:
			defer func() { <-d.unproven }()
		case <-r.Context().Done():
		}
		if err := r.Context().Err(); err != nil {
			return auth.Identity{}, d.perAddress.take(address(r)), err
		}
		if a := d.perAddress.peek(address(r)); !a.ok {
			return auth.Identity{}, a, nil
		}
	}
	who, err := d.authenticate(r)
	switch {
	case err == nil:
		d.proven.add(key, who.ID)
		if action != "" && d.isReporter(who.ID, action) {
			return who, d.perAction.take(who.ID + " " + action), nil
		}
		return who, d.perIdentity.take(who.ID), nil
	case wire.Refused(err) != nil:
		d.proven.drop(key)
		return auth.Identity{}, d.perAddress.take(address(r)), err
	}
	err = fmt.Errorf("%w: find out who asks: %w", kapi.ErrUnavailable, err)
	if proven { // an outage must not shrink what they have
		return auth.Identity{}, d.perIdentity.take(id), err
	}
	return auth.Identity{}, d.perAddress.take(address(r)), err
}

// A reporter has reported on an action with a valid fence lately, or started it: only its reports
// have a limit of their own, so that nobody else can use that up, or escape by it.
func reporter(identity, action string) fingerprint {
	return max(fingerprint(maphash.String(fingerprints, identity+" "+action)), 1)
}

func (d *door) isReporter(identity, action string) bool {
	_, ok := d.reporters.get(reporter(identity, action))
	return ok
}

// address returns the network address of the client: of IPv6 the network that one
// customer usually has, because nobody runs out of addresses in it.
func address(r *http.Request) string {
	ip, ok := parseAddress(r.RemoteAddr)
	if !ok {
		return r.RemoteAddr
	}
	if ip.Is6() {
		return netip.PrefixFrom(ip, 64).Masked().String()
	}
	return ip.String()
}

// A fingerprint tells credentials apart, without keeping them. It is of this process only,
// and nobody can make two that are alike.
type fingerprint uint64

var fingerprints = maphash.MakeSeed()

// credentials returns the fingerprint of all that a request says about who sent it, or zero
// if it says nothing.
func credentials(r *http.Request) fingerprint {
	headers, cookies, sessions := r.Header["Authorization"], r.Header["Cookie"], r.Header[auth.SessionHeader]
	if len(headers) == 0 && len(cookies) == 0 && len(sessions) == 0 {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(fingerprints)
	for _, lines := range [][]string{headers, cookies, sessions} {
		for _, line := range lines {
			_, _ = h.WriteString(line)
			_ = h.WriteByte('\n') // no header holds one
		}
		_ = h.WriteByte('\n')
	}
	return fingerprint(max(h.Sum64(), 1))
}

const (
	provenFor = time.Minute
	maxProven = 4096
)

// proven remembers which credentials were valid lately. It lets nobody in: it only says
// for whose it is worth asking.
type proven struct {
	mu sync.Mutex
	of map[fingerprint]proof
}

type proof struct {
	id    string
	until time.Time
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
	if !ok && len(p.of) >= maxProven {
		for k, of := range p.of {
			if !now.Before(of.until) {
				delete(p.of, k)
			}
		}
		if len(p.of) >= maxProven {
			clear(p.of) // they prove themselves again
		}
	}
	p.of[key] = proof{id, now.Add(provenFor)}
}

func (p *proven) drop(key fingerprint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.of, key)
}
