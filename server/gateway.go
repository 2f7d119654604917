package server

import (
	"net/http"
	"strings"

	"github.com/kettubot/kapi/internal/origin"
	"github.com/kettubot/kapi/internal/wire"
)

// The path of the gateway is also that of the route that tells where it is, without its
// version: who wants a connection is told by the upgrade that it asks for.

// isConnect reports whether r wants a connection to the gateway.
func (s *Server) isConnect(r *http.Request) bool {
	return r.Method == http.MethodGet && (r.URL.Path == "/gateway" || r.URL.Path == "/v4/gateway") &&
		strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// gatewayURL tells where the gateway is, as the client asked for it.
func (s *Server) gatewayURL(c *call) error {
	scheme := "ws"
	if isTLS(c.Request) {
		scheme = "wss"
	}
	return c.w.sendJSON(http.StatusOK, wire.Gateway{URL: scheme + "://" + origin.Shown(scheme, c.Host) + prefix(c.Request) + "/gateway"})
}

// prefix returns the path under which this handler was mounted.
func prefix(r *http.Request) string {
	asked, _, _ := strings.Cut(r.RequestURI, "?")
	before, found := strings.CutSuffix(asked, r.URL.EscapedPath())
	if !found || !strings.HasPrefix(before, "/") {
		return ""
	}
	return before
}
