package server

import (
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"net/http"
	"net/netip"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/conns"
	"github.com/kettubot/kapi/internal/wire"
)

// maxUnproven bounds how many requests with unproven credentials are authenticated at a time.
const maxUnproven = 256

// The door authenticates a client and then charges its rate limit, never the other way round. So a valid
// token is charged for its own requests only, whatever strangers do at the same address.
type door struct {
	authenticate func(*http.Request) (auth.Identity, error)

	perIdentity, perAction, perAddress, perForeign *limits

	proven    *proven
	reporters *proven
	unproven  chan struct{}
}

func newDoor(o Options) *door {
	set := func(rate *float64, standard float64) {
		if *rate == 0 {
			*rate = standard
		}
	}
	set(&o.RateLimit, 100)
	set(&o.RateLimitAddress, 20)
	if o.RateBurst == 0 {
		o.RateBurst = int(min(math.Ceil(2*o.RateLimit), math.MaxInt32))
	}
	atOnce := int(min(math.Ceil(o.RateLimitAddress), math.MaxInt32))
	return &door{
		authenticate: o.Authenticate,
		perIdentity:  newLimits("identity", true, o.RateLimit, o.RateBurst),
		perAction:    newLimits("action", false, o.RateLimit, o.RateBurst),
		perAddress:   newLimits("address", true, o.RateLimitAddress, atOnce),
		perForeign:   newLimits("foreign", true, o.RateLimitAddress, atOnce),
		proven:       newProven(provenEach),
		reporters:    newProven(maxProven),
		unproven:     make(chan struct{}, maxUnproven),
	}
}

// enter authenticates a call, charges its limit and writes the limit's headers. stranger is the reason if the
// call could not be authenticated; limited is not nil if its client has sent too many requests. foreign marks
// a request that a browser sends for a page of another origin.
func (d *door) enter(rt *route, c *call, foreign bool) (stranger, limited error) {
	if rt.probe || rt.page { // not charged: an answer costs no more than a refusal
		d.writeAddressLimit(c)
		return nil, nil
	}
	var a allowance
	c.who, a, stranger = d.identify(c.Request, reportOn(rt, c), foreign)
	c.w.who = c.who
	a.writeHeaders(c.w.Header())
	return stranger, a.refusal()
}

// writeAddressLimit writes the headers of the address's limit, for a request that is not charged.
func (d *door) writeAddressLimit(c *call) {
	if c.w.Header().Get("X-RateLimit-Limit") == "" {
		d.perAddress.peek(address(c.Request)).writeHeaders(c.w.Header())
	}
}

// identify returns who sent r, and the allowance that it was charged to: that of the identity if the
// credentials are valid, else that of the client's address. Foreign requests have limits of their own, so
// that a page of another origin can't use up its visitor's.
func (d *door) identify(r *http.Request, action string, foreign bool) (auth.Identity, allowance, error) {
	identities, addresses := d.perIdentity, d.perAddress
	if foreign {
		identities, addresses = d.perForeign, d.perForeign
	}
	key := credentials(r)
	id, proven := d.proven.get(key)
	if !proven {
		leave, err := d.queue(r.Context())
		if err != nil {
			return auth.Identity{}, addresses.take(address(r)), err
		}
		defer leave()
	}
	who, err := d.authenticate(r)
	switch {
	case err == nil:
		d.proven.add(key, who.ID)
		conns.Of(r.Context()).SignedIn(who.ID)
		if action != "" && d.isReporter(who.ID, action) {
			return who, d.perAction.take(who.ID + " " + action), nil
		}
		return who, identities.take(who.ID), nil
	case wire.Refused(err) != nil:
		d.proven.drop(key)
		return auth.Identity{}, addresses.take(address(r)), err
	}
	err = fmt.Errorf("%w: authenticate: %w", kapi.ErrUnavailable, err)
	if proven { // in an outage, a valid token keeps its limit
		return auth.Identity{}, identities.take(id), err
	}
	return auth.Identity{}, addresses.take(address(r)), err
}

// queue waits until a request with unproven credentials may be authenticated. A connection has one place
// in the queue, however many requests it has at once (HTTP/2). leave must be called afterwards.
func (d *door) queue(ctx context.Context) (leave func(), err error) {
	next, err := conns.Of(ctx).Turn(ctx)
	if err == nil {
		select {
		case d.unproven <- struct{}{}:
			return func() { <-d.unproven; next() }, nil
		case <-ctx.Done():
			next()
			err = ctx.Err()
		}
	}
	return nil, fmt.Errorf("%w: authenticate: %w", kapi.ErrUnavailable, err)
}

// A reporter is an identity that recently started an action, or reported on it with a valid fence. Only a
// reporter's reports have a limit per action, so that no other client can use that up or profit from it.
func reporter(identity, action string) fingerprint {
	return max(fingerprint(maphash.String(fingerprints, identity+" "+action)), 1)
}

func (d *door) isReporter(identity, action string) bool {
	_, ok := d.reporters.get(reporter(identity, action))
	return ok
}

// address returns the client's IPv4 address or its IPv6 network (/64), which one customer usually has
// alone, with more addresses than limits could be kept for.
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
