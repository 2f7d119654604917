package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/scheme"
	"github.com/kettubot/kapi/internal/wire"
)

// A grant is one token and its connections. As long as it has any, the token is checked again
// from time to time, for all of them at once.
type grant struct {
	request  *http.Request
	sessions map[*session]struct{}
	checking atomic.Bool
}

// authenticate says who identifies with a token. An empty token means the cookies of r, the request that
// opened the connection; half of a session needs the cookie with the other half. request is the one that
// Authenticate was called with.
func (g *Gateway) authenticate(ctx context.Context, r *http.Request, token string) (request *http.Request, who auth.Identity, err error) {
	if token == "" {
		if r.Header.Get("Origin") == "" { // cookies are for browsers only; Accept has checked their origin
			return nil, auth.Identity{}, auth.ErrNoToken
		}
		request = g.bare(r)
		request.Header.Del("Authorization")
		who, err = g.ask(ctx, request)
		return request, who, err
	}
	if auth.IsSessionHalf(token) { // the other half came as a cookie
		request = g.bare(r)
		request.Header.Del("Authorization")
		request.Header.Set(auth.SessionHeader, token)
		who, err = g.ask(ctx, request)
		return request, who, err
	}
	_, secret := scheme.Cut(token)
	for _, kind := range []string{scheme.Bearer, scheme.Bot} {
		request = g.bare(r)
		request.Header.Del("Cookie")
		request.Header.Set("Authorization", kind+" "+secret)
		who, err = g.ask(ctx, request)
		if !errors.Is(err, auth.ErrInvalidToken) {
			break
		}
	}
	return request, who, err
}

// bare returns a copy of r that can be kept after r has ended.
func (g *Gateway) bare(r *http.Request) *http.Request {
	c := r.Clone(context.WithoutCancel(r.Context()))
	c.Body = http.NoBody
	return c
}

// grantKey returns a key for the credentials of a request, without another copy of a token.
func grantKey(r *http.Request) string {
	h := sha256.New()
	for _, name := range []string{"Authorization", "Cookie", auth.SessionHeader} {
		for _, value := range r.Header[name] {
			h.Write([]byte(name + "\n" + value + "\n"))
		}
	}
	return string(h.Sum(nil))
}

// watchGrant has the session's token checked again every recheckEvery, until stop is called.
func (g *Gateway) watchGrant(s *session, request *http.Request) (stop func()) {
	key := grantKey(request)
	g.mu.Lock()
	defer g.mu.Unlock()
	held := g.grants[key]
	if held == nil {
		held = &grant{request: request, sessions: map[*session]struct{}{}}
		g.grants[key] = held
	}
	held.sessions[s] = struct{}{}
	if !g.checking {
		g.checking = true
		g.all.Add(1)
		go g.recheck()
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(held.sessions, s)
		if len(held.sessions) == 0 && g.grants[key] == held {
			delete(g.grants, key)
		}
	}
}

// recheck checks all tokens every recheckEvery, until no connection has one.
func (g *Gateway) recheck() {
	defer g.all.Done()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		pause.Reset(recheckEvery)
		select {
		case <-pause.C:
		case <-g.closed:
			return // all connections are being closed
		}
		g.mu.Lock()
		if g.checking = len(g.grants) > 0; !g.checking {
			g.mu.Unlock()
			return
		}
		held := make([]*grant, 0, len(g.grants))
		for _, one := range g.grants {
			held = append(held, one)
		}
		g.mu.Unlock()
		g.recheckAll(held)
	}
}

// checks is the state of rechecking tokens.
type checks struct {
	ctx    context.Context //nolint:containedctx // ends when the gateway is closed
	cancel context.CancelFunc
	slots  chan struct{} // one for each running check
}

const (
	// authenticateWithin bounds Authenticate when a client identifies.
	authenticateWithin = 10 * time.Second
	// checksAtOnce is how many tokens are checked at the same time.
	checksAtOnce = 16
)

// recheckAll starts to check tokens, and returns when all checks have started or the next round is due.
// So a check that takes longer, or hangs, doesn't delay the others.
func (g *Gateway) recheckAll(held []*grant) {
	round := time.NewTimer(recheckEvery)
	defer round.Stop()
	for _, one := range held {
		if !one.checking.CompareAndSwap(false, true) {
			continue // still running since an earlier round
		}
		select {
		case g.checks.slots <- struct{}{}:
		case <-round.C:
			one.checking.Store(false)
			return
		case <-g.closed:
			one.checking.Store(false)
			return
		}
		g.all.Add(1)
		go func() {
			defer g.all.Done()
			defer func() { <-g.checks.slots }()
			defer one.checking.Store(false)
			g.recheckOne(one)
		}()
	}
}

// ask calls Authenticate, and turns a panic in it into an error.
func (g *Gateway) ask(ctx context.Context, r *http.Request) (who auth.Identity, err error) {
	defer func() {
		if v := recover(); v != nil {
			g.log.Error("gateway: panic in Authenticate", "address", r.RemoteAddr, "panic", v, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	values, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	return g.options.Authenticate(r.WithContext(values))
}

func (g *Gateway) recheckOne(held *grant) {
	ctx, cancel := context.WithTimeout(g.checks.ctx, recheckEvery)
	defer cancel()
	who, err := g.ask(ctx, held.request)
	if err != nil && codeOf(err) != wire.CodeToken {
		if !errors.Is(err, kapi.ErrClosed) && g.checks.ctx.Err() == nil {
			g.log.Warn("a token can't be checked again now; its connections stay open", "error", err)
		}
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for s := range held.sessions {
		switch {
		case err != nil:
			s.end(wire.CodeToken)
		case s.internal.Load() && !who.Permissions.Has(auth.Admin):
			s.end(wire.CodeForbidden)
		}
	}
}
