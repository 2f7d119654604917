package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/wellformed"
	"github.com/kettubot/kapi/internal/wire"
	"github.com/kettubot/kapi/peer"
)

// What programs elsewhere say of the work that they do.

// fields is a JSON object whose fields are taken out one by one.
type fields map[string]json.RawMessage

// readFields reads a body that must be there.
func readFields(c *call, limit int64) (fields, error) {
	f, err := readJSON[fields](c, limit)
	if err == nil && f == nil {
		err = wire.BadBody.Because("there is none")
	}
	return f, err
}

// take reads a field into v, if it is there. Null is refused.
func (f fields) take(name string, v any) (given bool, err error) {
	raw, ok := f[name]
	if !ok {
		return false, nil
	}
	if isNull(raw) {
		return false, wire.BadBody.Because(name + " must not be null")
	}
	delete(f, name)
	if err := json.Unmarshal(raw, v); err != nil {
		return false, wire.BadBody.Because(fmt.Sprintf("%s must be %s", name, wanted(v)))
	}
	return true, nil
}

func isNull(raw json.RawMessage) bool { return bytes.Equal(bytes.TrimSpace(raw), []byte("null")) }

// wanted names the type of a field as JSON has it.
func wanted(v any) string {
	switch v.(type) {
	case *string:
		return "a string"
	case *bool:
		return "true or false"
	case *float64:
		return "a number"
	case *[]string:
		return "a list of strings"
	}
	return "a whole number, not negative"
}

// done refuses what was not taken.
func (f fields) done() error {
	names := make([]string, 0, len(f))
	for name := range f {
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil
	}
	return wire.BadBody.Because(fmt.Sprintf("unknown field %.100q", slices.Min(names)))
}

const maxIdempotencyKey = 255

// start starts an action whose work is done by whoever asks for it.
func (s *Server) start(c *call) error {
	f, err := readFields(c, s.options.MaxBody)
	if err != nil {
		return err
	}
	spec := peer.RemoteSpec{Host: hostOf(c.Request)}
	if keys := c.Header.Values("Idempotency-Key"); len(keys) > 0 {
		if len(keys) > 1 || keys[0] == "" || len(keys[0]) > maxIdempotencyKey {
			return wire.BadBody.Because(fmt.Sprintf("the Idempotency-Key must be one, of 1 to %d bytes", maxIdempotencyKey))
		}
		if flaw := wellformed.Text(keys[0]); flaw != "" {
			return wire.BadBody.Because("the Idempotency-Key " + flaw)
		}
		same, err := json.Marshal(f) // with its fields in order
		if err != nil {
			return wire.BadBody.Because(err.Error())
		}
		hash := sha256.Sum256(same)
		spec.Sender, spec.IdempotencyKey, spec.Hash = c.who.ID, keys[0], hash[:]
	}
	status, wait := kapi.StatusRunning, false
	for _, field := range []struct {
		name string
		into any
	}{
		{"title", &spec.Title},
		{"description", &spec.Description},
		{"keys", &spec.Keys},
		{"release_on_failure", &spec.ReleaseOnFailure},
		{"status", &status},
		{"wait", &wait},
		{"within", &spec.Within},
	} {
		// Package encoding/json replaces bytes that are not UTF-8, which makes one key of two.
		if flaw := wellformed.JSON(f[field.name]); flaw != "" {
			return wire.BadBody.Because(field.name + " " + flaw)
		}
		if _, err := f.take(field.name, field.into); err != nil {
			return err
		}
	}
	if err := f.done(); err != nil {
		return err
	}
	if status != kapi.StatusPending && status != kapi.StatusRunning {
		return wire.BadBody.Because(fmt.Sprintf("status must be 0 or 1, not %d", int(status)))
	}
	if wait {
		spec.Wait = -1 // the runner gives up when it likes
	}
	spec.Pending = status == kapi.StatusPending
	started, err := s.peer.StartRemote(c.Context(), spec)
	if err != nil {
		return fmt.Errorf("start action: %w", err)
	}
	s.door.reporters.add(reporter(c.who.ID, started.Action.ID), c.who.ID)
	return c.w.sendJSON(http.StatusCreated, started)
}

// hostOf names where a request comes from.
func hostOf(r *http.Request) string {
	if ip, ok := parseAddress(r.RemoteAddr); ok {
		return ip.String()
	}
	return r.RemoteAddr
}

// reportAction takes what a runner says of its action.
func (s *Server) reportAction(c *call) error {
	f, err := readFields(c, s.options.MaxBody)
	if err != nil {
		return err
	}
	var r kapi.Report
	if given, err := f.take("fence", &r.Fence); err != nil {
		return err
	} else if !given {
		return wire.BadBody.Because("fence is missing")
	}
	var status kapi.Status
	if given, err := f.take("status", &status); err != nil {
		return err
	} else if given {
		r.Status = &status
	}
	var progress float64
	if isNull(f["progress"]) {
		delete(f, "progress")
		r.ResetProgress = true
	} else if given, err := f.take("progress", &progress); err != nil {
		return err
	} else if given {
		r.Progress = &progress
	}
	var state string
	if given, err := f.take("state", &state); err != nil {
		return err
	} else if given {
		r.State = &state
	}
	if err := f.done(); err != nil {
		return err
	}
	answer, err := s.peer.Report(c.Context(), c.PathValue("id"), r)
	reports := reporter(c.who.ID, c.PathValue("id"))
	if errors.Is(err, kapi.ErrStaleFence) || errors.Is(err, kapi.ErrUnknown) {
		s.door.reporters.drop(reports)
	}
	if err != nil {
		return fmt.Errorf("report on action: %w", err)
	}
	s.door.reporters.add(reports, c.who.ID)
	c.w.send(http.StatusOK, jsonType, wire.EncodeReported(answer, r.Fence))
	return nil
}

// reportOn returns the id of the action that a request reports on, "" if it is no report.
func reportOn(rt *route, c *call) string {
	if rt.patch == nil || !strings.EqualFold(c.Method, http.MethodPatch) {
		return ""
	}
	return c.PathValue("id")
}
