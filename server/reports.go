package server

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/wellformed"
	"github.com/kettubot/kapi/internal/wire"
	"github.com/kettubot/kapi/peer"
)

// Starts and reports of runners elsewhere.

const (
	idempotencyKey    = "Idempotency-Key"
	maxIdempotencyKey = 255
)

// start starts an action whose work the client does.
func (s *Server) start(c *call) error {
	f, err := needFields(c, s.options.MaxBody)
	if err != nil {
		return err
	}
	spec := peer.RemoteSpec{Sender: c.who.ID}
	key, err := idempotencyKeyOf(c)
	if err != nil {
		return err
	}
	if key != "" {
		same, err := json.Marshal(f) // with sorted fields
		if err != nil {
			return wire.BadBody.Because(err.Error())
		}
		hash := sha256.Sum256(same)
		spec.IdempotencyKey, spec.Hash = key, hash[:]
	}
	asked, err := f.Start()
	if err != nil {
		return err
	}
	if asked.DismissFailed && !c.who.Permissions.Has(auth.Admin) {
		return wire.Forbidden(auth.Admin) // in any case, so that it doesn't reveal who holds the keys
	}
	spec.Spec, spec.Pending = asked.Spec(), asked.Pending()
	spec.Host = cmp.Or(spec.Host, hostOf(c.Request))
	started, err := s.peer.StartRemote(c.Context(), spec)
	if err != nil {
		return fmt.Errorf("start action: %w", err)
	}
	s.door.reporters.add(reporter(c.who.ID, started.Action.ID), c.who.ID)
	return c.w.sendJSON(http.StatusCreated, started)
}

// idempotencyKeyOf returns the Idempotency-Key of a start, "" if there is none.
func idempotencyKeyOf(c *call) (string, error) {
	keys := c.Header.Values(idempotencyKey)
	switch {
	case len(keys) == 0:
		return "", nil
	case len(keys) > 1 || keys[0] == "" || len(keys[0]) > maxIdempotencyKey:
		return "", wire.BadBody.About(idempotencyKey, fmt.Sprintf("must be one, of 1 to %d bytes", maxIdempotencyKey))
	}
	if flaw := wellformed.Text(keys[0]); flaw != "" {
		return "", wire.BadBody.About(idempotencyKey, flaw)
	}
	return keys[0], nil
}

// hostOf returns the address that a request comes from.
func hostOf(r *http.Request) string {
	if ip, ok := parseAddress(r.RemoteAddr); ok {
		return ip.String()
	}
	return r.RemoteAddr
}

// reportAction applies a runner's report to its action.
func (s *Server) reportAction(c *call) error {
	f, err := needFields(c, s.options.MaxBody)
	if err != nil {
		return err
	}
	body, err := f.Report()
	if err != nil {
		return err
	}
	answer, err := s.of(c).Report(c.Context(), c.PathValue("id"), body.Said())
	reports := reporter(c.who.ID, c.PathValue("id"))
	if errors.Is(err, kapi.ErrStaleFence) || errors.Is(err, kapi.ErrUnknown) {
		s.door.reporters.drop(reports)
	}
	if errors.Is(err, kapi.ErrUnknown) {
		return wire.Unknown.Because("it has ended, or never existed")
	}
	if err != nil {
		return fmt.Errorf("report on action: %w", err)
	}
	s.door.reporters.add(reports, c.who.ID)
	c.w.send(http.StatusOK, jsonType, wire.EncodeReported(answer, body.Fence))
	return nil
}

// reportOn returns the id of the action that a request reports on, or "" if it is not a report.
func reportOn(rt *route, c *call) string {
	if rt.patch == nil || !strings.EqualFold(c.Method, http.MethodPatch) {
		return ""
	}
	return c.PathValue("id")
}
