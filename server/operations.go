package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/wire"
)

// offers lists the operations.
func (s *Server) offers(c *call) error {
	all, err := s.peer.Offers(c.Context())
	if err != nil {
		return fmt.Errorf("list operations: %w", err)
	}
	if all == nil {
		all = []kapi.Offer{} // an array, not null
	}
	return c.w.sendJSON(http.StatusOK, all)
}

// startOperation starts an operation by its name, or says what it would do.
func (s *Server) startOperation(c *call) error {
	o, err := startOptions(c)
	if err != nil {
		return err
	}
	arguments, err := readArguments(c, s.options.MaxBody)
	if err != nil {
		return err
	}
	started, err := s.peer.StartOperation(c.Context(), c.PathValue("name"), arguments, o)
	var invalid *kapi.InvalidError
	switch {
	case errors.As(err, &invalid) && slices.Contains(wire.StartParameters(), invalid.Field):
		return wire.BadQuery.About(invalid.Field, invalid.Reason)
	case errors.Is(err, kapi.ErrNotFailed):
		return wire.NotContinued
	case err != nil:
		return fmt.Errorf("start operation: %w", err)
	case started.Preview != nil:
		if started.Preview.Lines == nil {
			started.Preview.Lines = []string{}
		}
		return c.w.sendJSON(http.StatusOK, wire.Previewed{Preview: *started.Preview})
	}
	return c.w.sendJSON(http.StatusCreated, wire.OperationStarted{Action: started.Action})
}

// readArguments reads the arguments of an operation, nil if there is no body. The peer checks them. It would take null
// for no arguments, like the nil of a Go program; in a body it is a mistake.
func readArguments(c *call, limit int64) ([]byte, error) {
	body, err := readBody(c, limit)
	if body == nil || err != nil {
		return nil, err
	}
	flaw := ""
	if given := string(bytes.TrimSpace(body)); given == "" || given == "null" {
		flaw = notObject
	} else if wide(body) {
		flaw = "must be UTF-8, not UTF-16 or UTF-32"
	}
	if flaw != "" {
		return nil, &kapi.ArgumentsError{Operation: c.PathValue("name"), Fields: []kapi.FieldError{{Reason: flaw}}}
	}
	return body, nil
}

// startOptions reads the query and the headers of a start.
func startOptions(c *call) (o kapi.StartOptions, err error) {
	query := c.URL.Query() // whose names are checked
	o.By = shortened(by(c.who))
	key, err := idempotencyKeyOf(c)
	switch {
	case err != nil:
		return o, err
	case key != "":
		o.IdempotencyKey = ofCaller(c.who, key)
	}
	for name, values := range query {
		if len(values) > 1 {
			return o, wire.BadQuery.About(name, "must not be repeated")
		}
	}
	if o.Preview, err = preview(query); err != nil {
		return o, err
	}
	if o.Wait, err = patience(query); err != nil {
		return o, err
	}
	if o.Continue = query.Get(wire.ParamContinue); query.Has(wire.ParamContinue) && o.Continue == "" {
		return o, wire.BadQuery.About(wire.ParamContinue, "must be the id of a failed action")
	}
	return o, nil
}

// ofCaller makes an Idempotency-Key one that no other caller has, even if the names of both are shortened to the same.
func ofCaller(who auth.Identity, key string) string {
	hash := sha256.Sum256([]byte(strconv.Itoa(len(who.ID)) + ":" + who.ID + key))
	return hex.EncodeToString(hash[:])
}

// shortened makes a name of an embedder's user one that a start takes.
func shortened(name string) string {
	const most = 200 // code points
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, "\uFFFD"))
	if runes := []rune(name); len(runes) > most {
		return string(runes[:most])
	}
	return name
}

func preview(query url.Values) (bool, error) {
	switch value := query.Get(wire.ParamPreview); {
	case !query.Has(wire.ParamPreview), value == "false":
		return false, nil
	case value == "true":
		return true, nil
	}
	return false, wire.BadQuery.About(wire.ParamPreview, "must be true or false")
}

// patience reads for how long an action may wait for its turn: true is without limit, a number is in seconds.
func patience(query url.Values) (time.Duration, error) {
	value := query.Get(wire.ParamWait)
	switch {
	case !query.Has(wire.ParamWait), value == "false":
		return 0, nil
	case value == "true":
		return -1, nil
	}
	const year = 365 * 24 * 60 * 60
	seconds, err := strconv.ParseUint(value, 10, 32)
	if err != nil || seconds == 0 || seconds > year {
		return 0, wire.BadQuery.About(wire.ParamWait, fmt.Sprintf("must be true, false, or a number of seconds, 1 to %d", year))
	}
	return time.Duration(seconds) * time.Second, nil
}

func (s *Server) pause(c *call) error {
	return s.changePause(c, "pause", s.peer.Pause)
}

func (s *Server) resume(c *call) error {
	return s.changePause(c, "resume", s.peer.Unpause)
}

// changePause begins or ends a pause.
func (s *Server) changePause(c *call, what string, change func(ctx context.Context, id, by string) (kapi.Action, error)) error {
	f, err := readFields(c, s.options.MaxBody)
	if err == nil {
		err = f.Done()
	}
	if err != nil {
		return err
	}
	action, err := change(c.Context(), c.PathValue("id"), by(c.who))
	if err != nil {
		return fmt.Errorf("%s action: %w", what, err)
	}
	return c.w.sendJSON(http.StatusAccepted, action)
}
