package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/wire"
)

// retryAfter is how many seconds a client is asked to wait if the store can't be reached.
const retryAfter = "1"

// fail answers c with err.
func (s *Server) fail(c *call, err error) {
	var limit *limitError
	var held *kapi.HeldError
	var notOffered *kapi.NotOfferedError
	switch own := wire.Refused(err); {
	case errors.As(err, &held):
		c.w.sendJSON(http.StatusConflict, s.heldBy(c, held))
	case errors.As(err, &limit):
		limit.answer(c.w)
	case own != nil:
		if own.Status == http.StatusUnauthorized {
			c.w.Header().Set("WWW-Authenticate", "Bearer") // RFC 9110 requires it with every 401
		}
		c.w.sendJSON(own.Status, own)
	case errors.As(err, &notOffered):
		c.w.Header().Set("Retry-After", retryAfter)
		incident := s.logIncident(c, http.StatusServiceUnavailable, err)
		c.w.sendJSON(http.StatusServiceUnavailable, wire.NotOffered(notOffered, incident))
	case isUnavailable(err):
		c.w.Header().Set("Retry-After", retryAfter)
		s.failWithIncident(c, http.StatusServiceUnavailable, "Service Unavailable", err)
	default:
		s.failWithIncident(c, http.StatusInternalServerError, "Internal Server Error", err)
	}
}

// heldBy returns the answer to a refused start, with as much of the holder as the client may know.
func (s *Server) heldBy(c *call, held *kapi.HeldError) any {
	if c.onlyItsOwn() {
		if _, err := s.peer.Sender(c.who.ID).Get(c.Context(), held.Holder.ID); err != nil {
			return wire.HeldByOther(held)
		}
	}
	return wire.HeldBy(held)
}

func isUnavailable(err error) bool {
	for _, e := range []error{kapi.ErrUnavailable, kapi.ErrClosed, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// failWithIncident answers with only a message and the id of an incident, which has the details in the log.
func (s *Server) failWithIncident(c *call, status int, message string, err error, more ...any) {
	c.w.sendJSON(status, wire.Failure{Message: message, Incident: s.logIncident(c, status, err, more...)})
}

// logIncident logs err as an incident and returns its id.
func (s *Server) logIncident(c *call, status int, err error, more ...any) string {
	id := rand.Text()[:12]
	level := slog.LevelError
	switch {
	case status != http.StatusServiceUnavailable:
	case errors.Is(c.Context().Err(), context.Canceled):
		level = slog.LevelDebug // the client disconnected
	default:
		level = slog.LevelWarn
	}
	s.log.Log(c.Context(), level, "request failed", append([]any{
		"incident", id, "method", c.Method, "path", c.URL.Path, "status", status, "error", err,
	}, more...)...)
	return id
}

// finish ends a request: it turns a panic into an answer and logs the request. It must be deferred
// directly, because it calls recover.
func (s *Server) finish(w *recorder, r *http.Request) {
	v := recover()
	if v == http.ErrAbortHandler {
		panic(v)
	}
	if v != nil {
		s.panicked(&call{Request: r, w: w}, v)
	}
	if s.log.Enabled(r.Context(), slog.LevelDebug) {
		s.log.DebugContext(r.Context(), "request", "method", r.Method, "path", r.URL.Path,
			"status", w.status, "took", time.Since(w.start), "address", r.RemoteAddr, "by", w.who.ID)
	}
}

func (s *Server) panicked(c *call, v any) {
	err := fmt.Errorf("panic: %v", v)
	if c.w.status != 0 { // the header is sent: the answer can only be cut off
		s.logIncident(c, c.w.status, err, "stack", string(debug.Stack()))
		panic(http.ErrAbortHandler)
	}
	s.door.writeAddressLimit(c)
	s.failWithIncident(c, http.StatusInternalServerError, "Internal Server Error", err, "stack", string(debug.Stack()))
}
