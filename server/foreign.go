package server

import (
	"net/http"
	"strings"

	"github.com/kettubot/kapi/internal/origin"
	"github.com/kettubot/kapi/internal/scheme"
	"github.com/kettubot/kapi/internal/wire"
)

// What browsers send for pages that are not this server's own.

// foreign reports whether a browser sent c for a page of another origin. A request with a token in a
// header of its own is not foreign, except on the routes of the page, which sign browsers in. Where the browser doesn't
// say which site that is, the origin's scheme and host tell. net/http would compare the host alone, and letter by
// letter; proxies write the same one in other ways than browsers do, a default port behind it for one.
func (s *Server) foreign(rt *route, c *call) bool {
	from, site := c.Header.Get("Origin"), c.Header.Get("Sec-Fetch-Site")
	if from == "" && site == "" || !rt.page && hasOwnHeader(c.Request) {
		return false
	}
	if site == "" {
		_, own := origin.Own(c.Request)
		return !own
	}
	unsafe := *c.Request
	unsafe.Method = http.MethodPost // net/http lets all others pass
	return s.origins.Check(&unsafe) != nil
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
	s.door.perAddress.peek(address(r)).writeHeaders(w.Header())
	s.fail(&call{Request: r, w: w}, wire.WrongHost(host))
}
