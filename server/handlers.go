package server

import (
	"context"
	"fmt"
	"net/http"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/peer"
)

// zipFrom is how many bytes a list must exceed to be compressed. Below that, compression gains nothing.
const zipFrom = 1 << 10

// Headers of lists. The slices are shared by all answers and must not be changed.
var (
	askAgain   = []string{"private, no-cache"} // clients may keep the list, but must revalidate it
	byEncoding = []string{"Accept-Encoding"}
	inGzip     = []string{"gzip"}
)

func (s *Server) list(c *call) error {
	listing, err := s.of(c).ListJSON(c.Context())
	if err != nil {
		return fmt.Errorf("list actions: %w", err)
	}
	plain, zipped := `"`+listing.Tag()+`"`, `"`+listing.Tag()+`:gzip"`
	zip := len(listing.JSON) > zipFrom && takesGzip(c.Header.Values("Accept-Encoding"))
	etag, other := plain, zipped
	if zip {
		etag, other = zipped, plain
	}
	h := c.w.Header()
	h["Cache-Control"] = askAgain
	h["Vary"] = byEncoding
	known := c.Header.Values("If-None-Match")
	if !matches(known, etag) && matches(known, other) { // the client has the same list in the other encoding
		etag = other
	}
	h["Etag"] = []string{etag}
	if matches(known, etag) {
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	body := listing.JSON
	if zip {
		body = listing.Gzipped()
		h["Content-Encoding"] = inGzip
	}
	c.w.send(http.StatusOK, jsonType, body)
	return nil
}

// actions has the actions that a client may know.
type actions interface {
	ListJSON(ctx context.Context) (peer.Listing, error)
	Get(ctx context.Context, id string) (kapi.Action, error)
	Report(ctx context.Context, id string, r kapi.Report) (kapi.Remote, error)
	Cancel(ctx context.Context, id, by string) (kapi.Action, error)
	GiveUp(ctx context.Context, id, by string) (kapi.Action, error)
}

// of returns the actions that the caller may know.
func (s *Server) of(c *call) actions {
	if c.onlyItsOwn() {
		return s.peer.Sender(c.who.ID)
	}
	return s.peer
}

func (s *Server) get(c *call) error {
	action, err := s.of(c).Get(c.Context(), c.PathValue("id"))
	if err != nil {
		return fmt.Errorf("get action: %w", err)
	}
	return c.w.sendJSON(http.StatusOK, action)
}

func (s *Server) dismiss(c *call) error {
	f, err := readFields(c, s.options.MaxBody)
	if err == nil {
		err = f.Done()
	}
	if err != nil {
		return err
	}
	if _, err := s.peer.Dismiss(c.Context(), c.PathValue("id"), by(c.who)); err != nil {
		return fmt.Errorf("dismiss action: %w", err)
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) cancel(c *call) error {
	f, err := readFields(c, s.options.MaxBody)
	if err != nil {
		return err
	}
	body, err := f.Cancel()
	if err != nil {
		return err
	}
	end := s.of(c).Cancel
	if body.GiveUp {
		end = s.of(c).GiveUp
	}
	action, err := end(c.Context(), c.PathValue("id"), by(c.who))
	if err != nil {
		return fmt.Errorf("cancel action: %w", err)
	}
	return c.w.sendJSON(http.StatusAccepted, action)
}

func (s *Server) healthz(c *call) error {
	c.w.send(http.StatusOK, textType, []byte("ok\n"))
	return nil
}

func (s *Server) readyz(c *call) error {
	ctx, cancel := context.WithTimeout(c.Context(), readyWithin)
	defer cancel()
	if err := s.peer.Ready(ctx); err != nil {
		incident := s.logIncident(c, http.StatusServiceUnavailable, err)
		c.w.Header().Set("Retry-After", retryAfter)
		c.w.send(http.StatusServiceUnavailable, textType, []byte("not ready: the store can't be read (incident "+incident+")\n"))
		return nil
	}
	c.w.send(http.StatusOK, textType, []byte("ok\n"))
	return nil
}

func (s *Server) metrics(c *call) error {
	s.options.Metrics.ServeHTTP(c.w, c.Request)
	return nil
}

// by names the caller, for the log and for Action.CancelledBy.
func by(who auth.Identity) string {
	switch {
	case who.Name == "" && who.ID == "":
		return "an admin"
	case who.Name == "" || who.Name == who.ID:
		return who.ID
	case who.ID == "":
		return who.Name
	}
	return who.Name + " (" + who.ID + ")"
}
