package server

import (
	"net/http"
	"strings"

	"github.com/kettubot/kapi/internal/origin"
	"github.com/kettubot/kapi/internal/scheme"
	"github.com/kettubot/kapi/internal/wire"
)

// What browsers send for pages that are not this server's own.

// sameOrigin refuses what a browser sends for a page of another site, unless it only reads. Where the browser doesn't
// say which site that is, the origin's scheme and host tell. net/http would compare the host alone, and letter by
// letter; proxies write the same one in other ways than browsers do, a default port behind it for one.
func (s *Server) sameOrigin(c *call) error {
	if c.Header.Get("Sec-Fetch-Site") == "" {
		if _, own := origin.Own(c.Request); own || c.Method == http.MethodGet || c.Method == http.MethodHead {
			return nil
		}
		return wire.CrossOrigin
	}
	if s.origins.Check(c.Request) != nil {
		return wire.CrossOrigin
	}
	return nil
}

// hasOwnHeader reports whether r carries a token in a way that a browser never does by
// itself, as it does with cookies and with passwords it was told (Basic).
func hasOwnHeader(r *http.Request) bool {
	kind, _ := scheme.Cut(strings.TrimSpace(r.Header.Get("Authorization")) + " ")
	return kind != ""
}

// misdirected answers r, or the request that a proxy made of it, which is for another server. It costs nothing, so it is
// not charged: a foreign page must not use up what its reader may ask for.
func (s *Server) misdirected(w *recorder, asked, r *http.Request) {
	host := r.Host
	if !s.hosts.Answer(asked) {
		host = asked.Host
	}
	s.door.perAddress.peek(address(r)).tell(w.Header())
	s.fail(&call{Request: r, w: w}, wire.WrongHost(host))
}
