package server

import (
	"net/http"
	"strings"

	"github.com/kettubot/kapi/internal/origin"
	"github.com/kettubot/kapi/internal/wire"
)

// Two routes share the path /gateway: the gateway itself, and the REST route that returns its URL. A
// request with an upgrade to a WebSocket is for the gateway.

// isConnect reports whether r asks for a connection to the gateway.
func (s *Server) isConnect(r *http.Request) bool {
	return r.Method == http.MethodGet && (r.URL.Path == "/gateway" || r.URL.Path == "/v4/gateway") &&
		strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// gatewayURL answers with the gateway's URL, with the scheme, host and prefix that the client used.
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
