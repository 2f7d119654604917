package server

import (
	"net/http"
	"strings"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/wire"
)

// A handler answers a call, or returns the error to answer it with.
type handler func(*call) error

// A route has the handlers of one path. The zero value has none, and is answered with 404.
type route struct {
	get, post, patch, delete handler
	// query has the names that the query may have.
	query []string
	// needs is the permission that the route needs; 0 is auth.Admin.
	needs auth.Permissions
	// probe marks a route that needs no token.
	probe bool
	// page marks a route of the web page, which needs no token either.
	page bool
}

// A call is one request and its answer.
type call struct {
	*http.Request
	w   *recorder
	who auth.Identity
}

// onlyItsOwn reports whether the client may see only the actions that it started itself.
func (c *call) onlyItsOwn() bool {
	return !c.who.Permissions.Has(auth.Admin) && c.who.Permissions.Has(auth.RunActions)
}

func (s *Server) handle(pattern string, rt route) {
	if !strings.HasSuffix(pattern, "/") && !strings.Contains(pattern, "{") {
		s.exact[pattern] = &rt
	}
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		s.answer(&rt, w.(*recorder), r)
	})
}

// apiRoutes adds all routes but those of the page.
func (s *Server) apiRoutes() {
	for _, prefix := range []string{"/v4", ""} {
		s.handle(prefix+"/kapi/actions", route{get: s.list, post: s.start, needs: auth.RunActions})
		s.handle(prefix+"/kapi/actions/{id}", route{get: s.get, patch: s.reportAction, needs: auth.RunActions})
		s.handle(prefix+"/kapi/actions/{id}/dismiss", route{post: s.dismiss})
		s.handle(prefix+"/kapi/actions/{id}/cancel", route{post: s.cancel, needs: auth.RunActions})
		s.handle(prefix+"/kapi/actions/{id}/pause", route{post: s.pause})
		s.handle(prefix+"/kapi/actions/{id}/resume", route{post: s.resume})
		s.handle(prefix+"/kapi/operations", route{get: s.offers})
		s.handle(prefix+"/kapi/operations/{name}", route{post: s.startOperation, query: wire.StartParameters()})
		s.handle(prefix+"/gateway", route{get: s.gatewayURL, probe: true})
	}
	s.handle("/healthz", route{get: s.healthz, probe: true})
	s.handle("/readyz", route{get: s.readyz, probe: true})
	if s.options.Metrics != nil {
		s.handle("/metrics", route{get: s.metrics, needs: auth.ReadMetrics})
	}
}

// method returns the handler for the method of c.
func (rt *route) method(c *call) (handler, error) {
	if c.Method == http.MethodGet && rt.get != nil {
		return rt.get, nil
	}
	var allow []string
	for _, m := range []struct {
		name string
		handler
	}{{http.MethodGet, rt.get}, {http.MethodHead, rt.get}, {http.MethodPost, rt.post}, {http.MethodPatch, rt.patch}, {http.MethodDelete, rt.delete}} {
		switch {
		case m.handler == nil:
		case m.name == c.Method:
			return m.handler, nil
		default:
			allow = append(allow, m.name)
		}
	}
	if allow == nil {
		return nil, wire.NoRoute
	}
	c.w.Header().Set("Allow", strings.Join(allow, ", "))
	return nil, wire.BadMethod
}
