package server

import (
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/origin"
)

// Sessions of the page. A browser keeps one half as a cookie that no script can read, and the page keeps
// the other half where only its origin can read it. The cookie alone gives no access, because a browser
// sends it to every port of the host, even with SameSite.

// authenticate says who sent r, by both halves of a session or by the embedder's Authenticate.
func (s *Server) authenticate(r *http.Request) (auth.Identity, error) {
	if s.options.Page.SignIn == nil || r.Header["Authorization"] != nil || r.Header[auth.SessionHeader] == nil {
		return s.options.Authenticate(r)
	}
	who, err := s.options.Page.SignIn.AuthenticateSession(r, s.cookieName())
	if errors.Is(err, auth.ErrNoToken) {
		return s.options.Authenticate(r)
	}
	return who, err
}

// cookieName returns a name that depends on the store, because servers of several stores may share a host.
// It changes only with the store's secret, and reveals nothing of it.
func (s *Server) cookieName() string {
	return "kapi_" + hex.EncodeToString(s.peer.Sign("page cookie")[:4])
}

// keep sets the cookie with the browser's half of a session.
func (s *Server) keep(c *call, session auth.Session) {
	left := time.Until(time.UnixMilli(session.ExpiresAt))
	s.setCookie(c, s.cookieName(), session.Cookie, max(int((left+time.Second-1)/time.Second), 1))
}

// setCookie sets a cookie for the path that kapi is mounted at. maxAge is in seconds; -1 removes the cookie.
func (s *Server) setCookie(c *call, name, value string, maxAge int) {
	http.SetCookie(c.w, &http.Cookie{
		Name: name, Value: value, Path: prefix(c.Request) + "/", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: isTLS(c.Request),
	})
}

// dropOldCookie removes the cookie in which earlier versions of the page kept a token.
func (s *Server) dropOldCookie(c *call) {
	if s.options.Page.SignIn == nil {
		return
	}
	for _, old := range c.CookiesNamed(auth.Cookie) {
		if auth.IsToken(old.Value) { // otherwise it belongs to another program
			s.setCookie(c, auth.Cookie, "", -1)
			return
		}
	}
}

// isTLS reports whether the client connected over TLS, to this server or to a trusted proxy.
func isTLS(r *http.Request) bool { return origin.Scheme(r) == "https" }
