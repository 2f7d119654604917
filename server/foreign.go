package server

import (
	"net/http"
	"strings"

	"github.com/kettubot/kapi/internal/origin"
	"github.com/kettubot/kapi/internal/scheme"
	"github.com/kettubot/kapi/internal/wire"
)

// Requests that browsers send for pages of other origins.

// foreign reports whether a browser sent c for a page of another origin. A request with a token in a header
// that browsers don't send by themselves is not foreign, except on the routes of the page, which sign
// browsers in. Without Sec-Fetch-Site the origin's scheme and host are compared. net/http would compare the
// host only, and literally; but proxies write it differently than browsers, for example with the default port.
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
	unsafe.Method = http.MethodPost // net/http checks no safe methods
	return s.origins.Check(&unsafe) != nil
}

// hasOwnHeader reports whether r has a token in a header that a browser never sends by itself, unlike
// cookies and stored passwords (Basic).
func hasOwnHeader(r *http.Request) bool {
	kind, _ := scheme.Cut(strings.TrimSpace(r.Header.Get("Authorization")) + " ")
	return kind != ""
}

// misdirected refuses a request for another host: asked is the request as received, r as the client sent it
// to a proxy. It is not charged, so that a foreign page can't use up the limit of its reader.
func (s *Server) misdirected(w *recorder, asked, r *http.Request) {
	host := r.Host
	if !s.hosts.Answer(asked) {
		host = asked.Host
	}
	s.door.perAddress.peek(address(r)).writeHeaders(w.Header())
	s.fail(&call{Request: r, w: w}, wire.WrongHost(host))
}
