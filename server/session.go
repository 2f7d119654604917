package server

import (
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/origin"
)

// Sessions of the page. A browser keeps one half as a cookie that no script can read, and the page the
// other where only its origin can read it. The cookie alone is worth nothing: SameSite or not, a browser
// sends it to every port of the host.

// authenticate says who sent r: by both halves of a session, or as the embedder says.
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

// cookieName tells the cookies of the stores apart whose servers share a host. It is as durable as the
// store's secret, and gives nothing of that away.
func (s *Server) cookieName() string {
	return "kapi_" + hex.EncodeToString(s.peer.Sign("page cookie")[:4])
}

// keep has the browser keep its half of a session.
func (s *Server) keep(c *call, session auth.Session) {
	left := time.Until(time.UnixMilli(session.ExpiresAt))
	s.setCookie(c, s.cookieName(), session.Cookie, max(int((left+time.Second-1)/time.Second), 1))
}

// setCookie sets a cookie for as much of the host as is kapi's; with a maxAge of -1 it removes it.
func (s *Server) setCookie(c *call, name, value string, maxAge int) {
	http.SetCookie(c.w, &http.Cookie{
		Name: name, Value: value, Path: prefix(c.Request) + "/", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: isTLS(c.Request),
	})
}

// dropOldCookie removes the cookie in which the page kept tokens before it had sessions.
func (s *Server) dropOldCookie(c *call) {
	if s.options.Page.SignIn == nil {
		return
	}
	for _, old := range c.CookiesNamed(auth.Cookie) {
		if auth.IsToken(old.Value) { // or it is another program's
			s.setCookie(c, auth.Cookie, "", -1)
			return
		}
	}
}

// isTLS reports whether the client came over TLS, to here or to a trusted proxy.
func isTLS(r *http.Request) bool { return origin.Scheme(r) == "https" }
