package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"os"
	"sync/atomic"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/backoff"
	"github.com/kettubot/kapi/internal/wellformed"
	"github.com/kettubot/kapi/internal/wire"
)

// Start starts an action whose work this program does, and reports on. With an idempotency key, a
// start that is repeated starts once; "" is none. Of an action that waits its turn (Spec.Wait) the
// caller has to report that it begins when it has its keys. Spec.LeaveRunning means nothing here.
//
// The error may be a *kapi.HeldError or a *kapi.InvalidError, or, of Spec.DismissFailed with a token that
// may not dismiss, wrap auth.ErrForbidden. One that wraps kapi.ErrUnavailable may
// mean that the action was started and the answer lost (not if it says 429): an idempotency key makes
// it safe to ask again.
func (c *Client) Start(ctx context.Context, spec kapi.Spec, idempotencyKey string) (kapi.Remote, error) {
	return c.start(ctx, start{spec, idempotencyKey})
}

// A start is what is asked of the server.
type start struct {
	kapi.Spec
	idempotencyKey string
}

// check refuses what package encoding/json would alter on the way.
func (s *start) check() error {
	texts := [][2]string{{"title", s.Title}, {"description", s.Description}, {"host", s.Host}, {"idempotency key", s.idempotencyKey}}
	for _, key := range s.Keys {
		texts = append(texts, [2]string{"key", key})
	}
	for _, text := range texts {
		if flaw := wellformed.Text(text[1]); flaw != "" {
			return &kapi.InvalidError{Field: text[0], Reason: flaw}
		}
	}
	return nil
}

func (c *Client) start(ctx context.Context, s start) (kapi.Remote, error) {
	if err := s.check(); err != nil {
		return kapi.Remote{}, err
	}
	header := http.Header{}
	if s.idempotencyKey != "" {
		header.Set("Idempotency-Key", s.idempotencyKey)
	}
	body := wire.NewStart(s.Spec)
	body.Host = cmp.Or(body.Host, thisHost())
	return ask[kapi.Remote](ctx, c, http.MethodPost, "/kapi/actions", header, body)
}

// thisHost is "" if the machine's name is none that a server takes.
func thisHost() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	if _, err := (kapi.Spec{Title: "t", Host: name}).Validate(); err != nil {
		return ""
	}
	return name
}

var errMaybeStarted = errors.New("it is not known whether the action was started: if it is on the list, dismiss it when it has failed")

// withdraw takes a start back whose answer was not waited for. With its idempotency key there is only one:
// it was done, or is done now, so that it dismisses nothing and frees its keys when it fails.
func (c *Client) withdraw(s start) error {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	anew := s
	anew.DismissFailed, anew.ReleaseOnFailure = false, true
	r, err := c.start(ctx, anew)
	if errors.Is(err, kapi.ErrOtherRequest) { // it was done as it was asked for
		r, err = c.start(ctx, s)
	}
	if err == nil {
		status, state := kapi.StatusFailed, "withdrawn before it began"
		_, _, err = c.Report(ctx, r.Action.ID, kapi.Report{Fence: r.Fence, Status: &status, State: &state})
		if err == nil {
			_, err = c.Dismiss(ctx, r.Action.ID, "")
		}
		if errors.Is(err, auth.ErrForbidden) {
			return leftFailed(r.Action.ID, err)
		}
	}
	if errors.Is(err, kapi.ErrUnavailable) || ctx.Err() != nil {
		return errMaybeStarted
	}
	return nil
}

// leftFailed tells of an action that came to nothing, of a runner whose token may not dismiss.
func leftFailed(id string, err error) error {
	return fmt.Errorf("action %s never began and is left failed; an admin must dismiss it: %w", id, err)
}

const (
	// startWithin is how long a start is asked for again whose outcome is unknown.
	startWithin = 20 * time.Second
	askTimeout  = 5 * time.Second
)

// startOnce is start for Do, with an idempotency key of its own: it does not leave an action behind
// whose start was done, but not answered, if that can be helped.
func (c *Client) startOnce(ctx context.Context, spec kapi.Spec) (r kapi.Remote, err error) {
	s := start{spec, rand.Text()}
	// A server that was reached is worth asking again, and may have done what left this machine.
	var reached, left atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { reached.Store(true) },
		WroteHeaders: func() { left.Store(true) },
	})
	warned := false
	maybe := false // an earlier try may have started it
	deadline := time.Now().Add(startWithin)
	for pauses := backoff.New(firstPause, lastPause); ; {
		left.Store(false)
		r, err = c.tryStart(traced, s)
		var limited *limitedError
		var wait time.Duration
		if errors.As(err, &limited) {
			wait = limited.after
		} else if left.Load() && (ctx.Err() != nil || errors.Is(err, kapi.ErrUnavailable)) {
			maybe = true
		}
		now := time.Now()
		switch {
		case err == nil:
			return r, nil
		case ctx.Err() != nil && maybe:
			return r, errors.Join(err, c.withdraw(s))
		case ctx.Err() != nil, !reached.Load():
			return r, err
		case !errors.Is(err, kapi.ErrUnavailable), now.After(deadline), now.Add(wait).After(deadline):
			return r, inDoubt(err, maybe)
		case !warned:
			warned = true
			c.retrying(err, startWithin)
		}
		select {
		case <-time.After(max(pauses.Next(), wait)):
		case <-ctx.Done():
		}
	}
}

// tryStart is start, within askTimeout.
func (c *Client) tryStart(ctx context.Context, s start) (r kapi.Remote, err error) {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err = c.start(asking, s)
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = unavailable("server %s: no answer within %v", c.base, askTimeout)
	}
	return r, err
}

// inDoubt adds to err that an earlier try may have started the action. A held key rules that out: the
// server would have repeated its answer.
func inDoubt(err error, maybe bool) error {
	var held *kapi.HeldError
	if !maybe || errors.As(err, &held) {
		return err
	}
	return fmt.Errorf("%w; %w", err, errMaybeStarted)
}
