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
	"github.com/kettubot/kapi/auth"
)

// A refusal is what the client did wrong, as it is told.
type refusal struct {
	status, code int
	message      string
}

func (e *refusal) Error() string { return e.message }

// because adds what exactly is wrong.
func (e *refusal) because(reason string) error {
	return &refusal{e.status, e.code, e.message + ": " + reason}
}

// What requests are refused for by this package itself.
var (
	errNoRoute     = &refusal{http.StatusNotFound, 0, "No such route"}
	errMethod      = &refusal{http.StatusMethodNotAllowed, 0, "Method not allowed"}
	errForbidden   = &refusal{http.StatusForbidden, 50002, "Actions are for admins only"}
	errCrossOrigin = &refusal{http.StatusForbidden, 50002, "Request from another origin refused"}
	errQuery       = &refusal{http.StatusBadRequest, 50003, "Bad query"}
	errBody        = &refusal{http.StatusBadRequest, 50004, "Bad body"}
	errTooLarge    = &refusal{http.StatusRequestEntityTooLarge, 50004, "Bad body"}
	errType        = &refusal{http.StatusUnsupportedMediaType, 50005, "Wrong content type"}
)

// refusals is the table from the errors of other packages to HTTP and to kAPI's codes.
// What is in neither table is this side's fault.
var refusals = []struct {
	err error
	refusal
}{
	{auth.ErrNoToken, refusal{http.StatusUnauthorized, 40006, "No token"}},
	{auth.ErrInvalidToken, refusal{http.StatusUnauthorized, 40002, "Token not valid"}},
	{auth.ErrUnknownToken, refusal{http.StatusUnauthorized, 40002, "Token not valid"}},
	{auth.ErrExpiredToken, refusal{http.StatusUnauthorized, 40007, "Token expired"}},
	{kapi.ErrUnknown, refusal{http.StatusNotFound, 10015, "Unknown action"}},
	{kapi.ErrWaiting, refusal{http.StatusConflict, 20003, "Move not allowed: " + kapi.ErrWaiting.Error()}},
	{kapi.ErrStaleFence, refusal{http.StatusConflict, 20002, "Stale fence: another runner holds the action"}},
	{kapi.ErrGivenUp, refusal{http.StatusConflict, 20003, "The action was given up for silence: only its end can still be reported"}},
	{kapi.ErrOtherRequest, refusal{http.StatusConflict, 20006, "The Idempotency-Key was used with another body"}},
	{kapi.ErrNotFailed, refusal{http.StatusConflict, 20000, "Only failed actions can be dismissed"}},
}

// refused returns what the client is told if err is its fault, else nil.
func refused(err error) *refusal {
	var own *refusal
	if errors.As(err, &own) {
		return own
	}
	var no *kapi.NotCancellableError
	if errors.As(err, &no) {
		return &refusal{http.StatusConflict, 20004, "Can't be cancelled: " + no.Reason}
	}
	var move *kapi.MoveError
	if errors.As(err, &move) {
		return &refusal{http.StatusConflict, 20003, "Move not allowed: " + move.Error()}
	}
	var invalid *kapi.InvalidError
	if errors.As(err, &invalid) {
		return &refusal{http.StatusBadRequest, 50004, "Bad body: " + invalid.Error()}
	}
	for i := range refusals {
		if errors.Is(err, refusals[i].err) {
			return &refusals[i].refusal
		}
	}
	return nil
}

// retryAfter, in seconds, is what a client is asked to wait for a store that can't be
// reached.
const retryAfter = "1"

// fail answers c with err.
func (s *Server) fail(c *call, err error) {
	var limit *limitError
	var held *kapi.HeldError
	switch own := refused(err); {
	case errors.As(err, &held):
		c.w.sendJSON(http.StatusConflict, struct {
			Code     int         `json:"code"`
			Message  string      `json:"message"`
			Action   kapi.Action `json:"action"`
			Key      string      `json:"key"`
			Circular bool        `json:"circular,omitempty"`
		}{20001, held.Error(), held.Holder, held.Key, held.Circular})
	case errors.As(err, &limit):
		limit.answer(c.w)
	case own != nil:
		if own.status == http.StatusUnauthorized {
			c.w.Header().Set("WWW-Authenticate", "Bearer") // RFC 9110 asks for it with every 401
		}
		c.w.sendJSON(own.status, struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		}{own.code, own.message})
	case isUnavailable(err):
		c.w.Header().Set("Retry-After", retryAfter)
		s.failReported(c, http.StatusServiceUnavailable, "Service Unavailable", err)
	default:
		s.failReported(c, http.StatusInternalServerError, "Internal Server Error", err)
	}
}

func isUnavailable(err error) bool {
	for _, e := range []error{kapi.ErrUnavailable, kapi.ErrClosed, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// failReported answers with nothing but the id under which the log says more.
func (s *Server) failReported(c *call, status int, message string, err error, more ...any) {
	c.w.sendJSON(status, struct {
		Message string `json:"message"`
		Report  string `json:"report"`
	}{message, s.report(c, status, err, more...)})
}

// report logs err and returns the id it has there.
func (s *Server) report(c *call, status int, err error, more ...any) string {
	id := rand.Text()[:12]
	level := slog.LevelError
	switch {
	case status != http.StatusServiceUnavailable:
	case errors.Is(c.Context().Err(), context.Canceled):
		level = slog.LevelDebug // the client hung up
	default:
		level = slog.LevelWarn
	}
	s.log.Log(c.Context(), level, "request failed", append([]any{
		"report", id, "method", c.Method, "path", c.URL.Path, "status", status, "error", err,
	}, more...)...)
	return id
}

// finish ends a request: it turns a panic into an answer and logs what was answered.
// It must be deferred itself.
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
	if c.w.status != 0 { // too late to say anything but that it is cut off
		s.report(c, c.w.status, err, "stack", string(debug.Stack()))
		panic(http.ErrAbortHandler)
	}
	s.door.tell(c)
	s.failReported(c, http.StatusInternalServerError, "Internal Server Error", err, "stack", string(debug.Stack()))
}
