package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
)

// A grant is what one token stands for. It is checked again for all its connections at
// once, for as long as it has any.
type grant struct {
	request  *http.Request
	sessions map[*session]struct{}
}

// authenticate says who has a token, or the cookie of the request that opened the connection.
// request is the one that was taken.
func (g *Gateway) authenticate(r *http.Request, token string) (request *http.Request, who auth.Identity, err error) {
	if token == "" {
		if r.Header.Get("Origin") == "" { // browsers alone have cookies, and Accept has compared it with the host
			return nil, auth.Identity{}, auth.ErrNoToken
		}
		request = g.bare(r)
		request.Header.Del("Authorization")
		who, err = g.options.Authenticate(request)
		return request, who, err
	}
	for _, scheme := range []string{"Bearer ", "Bot "} {
		request = g.bare(r)
		request.Header.Del("Cookie")
		request.Header.Set("Authorization", scheme+cutScheme(token))
		who, err = g.options.Authenticate(request)
		if !errors.Is(err, auth.ErrInvalidToken) {
			break
		}
	}
	return request, who, err
}

// bare returns a copy of the request that can be kept.
func (g *Gateway) bare(r *http.Request) *http.Request {
	c := r.Clone(context.WithoutCancel(r.Context()))
	c.Body = http.NoBody
	return c
}

// grantKey tells tokens apart without keeping another copy of them.
func grantKey(r *http.Request) string {
	h := sha256.New()
	for _, name := range []string{"Authorization", "Cookie"} {
		for _, value := range r.Header[name] {
			h.Write([]byte(name + "\n" + value + "\n"))
		}
	}
	return string(h.Sum(nil))
}

// watchGrant has the session's token checked again from time to time; stop ends that.
func (g *Gateway) watchGrant(s *session, request *http.Request) (stop func()) {
	key := grantKey(request)
	g.mu.Lock()
	defer g.mu.Unlock()
	held := g.grants[key]
	if held == nil {
		held = &grant{request, map[*session]struct{}{}}
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

// recheck checks all tokens again and again, until there is none.
func (g *Gateway) recheck() {
	defer g.all.Done()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		pause.Reset(recheckEvery)
		select {
		case <-pause.C:
		case <-g.closed:
			return // all connections are being ended
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
		for _, one := range held {
			g.recheckOne(one)
		}
	}
}

func (g *Gateway) recheckOne(held *grant) {
	ctx, cancel := context.WithTimeout(held.request.Context(), recheckEvery)
	defer cancel()
	who, err := g.options.Authenticate(held.request.WithContext(ctx))
	if err != nil && codeOf(err) != CodeToken {
		if !errors.Is(err, kapi.ErrClosed) {
			g.log.Warn("a token can't be checked again yet; its connections stay", "error", err)
		}
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for s := range held.sessions {
		switch {
		case err != nil:
			s.end(CodeToken)
		case s.internal.Load() && !who.Permissions.Has(auth.Admin):
			s.end(CodeForbidden)
		}
	}
}
