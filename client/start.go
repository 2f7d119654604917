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

// Start starts an action whose work this program does and reports on. With an idempotency key, a repeated
// start starts the action only once; "" is no key. If the action waits for its turn (Spec.Wait), the
// caller must report that it begins once it has its keys. Spec.LeaveRunning is ignored.
//
// The error may be a *kapi.HeldError or a *kapi.InvalidError. It wraps auth.ErrForbidden if
// Spec.DismissFailed is set and the token may not dismiss. If it wraps kapi.ErrUnavailable, the action
// may have been started and the answer lost, unless the rate limit was exceeded (429). With an idempotency
// key the start can be repeated safely.
func (c *Client) Start(ctx context.Context, spec kapi.Spec, idempotencyKey string) (kapi.Remote, error) {
	return c.start(ctx, start{spec, idempotencyKey})
}

// A start is a request for an action.
type start struct {
	kapi.Spec
	idempotencyKey string
}

// check refuses invalid UTF-8, which package encoding/json would alter.
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

// thisHost returns the machine's name, or "" if a server would refuse it.
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

var errMaybeStarted = errors.New("it is not known whether the action was started: if it is listed, dismiss it once it has failed")

// withdraw undoes a start whose answer did not come. It repeats the start with the same idempotency key, to
// learn the action's id, and then fails and dismisses the action. In case the action is started only by this
// repetition, the repetition asks to dismiss no failed actions, and to free the keys on failure.
func (c *Client) withdraw(s start) error {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	anew := s
	anew.DismissFailed, anew.ReleaseOnFailure = false, true
	r, err := c.start(ctx, anew)
	if errors.Is(err, kapi.ErrOtherRequest) { // the original start was done
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

// leftFailed returns the error for an action that never began, if the token may not dismiss it.
func leftFailed(id string, err error) error {
	return fmt.Errorf("action %s never began and is left failed; an admin must dismiss it: %w", id, err)
}

const (
	// startWithin is how long a start whose outcome is unknown is repeated.
	startWithin = 20 * time.Second
	askTimeout  = 5 * time.Second
)

// startOnce is start for Do. It repeats a failed start with the same idempotency key, and if ctx ends, it
// tries to withdraw an action that may have been started.
func (c *Client) startOnce(ctx context.Context, spec kapi.Spec) (r kapi.Remote, err error) {
	s := start{spec, rand.Text()}
	// Only a server that was reached is asked again. It may have done a request that left this machine.
	var reached, left atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { reached.Store(true) },
		WroteHeaders: func() { left.Store(true) },
	})
	warned := false
	maybe := false // an earlier try may have started the action
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

// tryStart is start with a timeout of askTimeout.
func (c *Client) tryStart(ctx context.Context, s start) (r kapi.Remote, err error) {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err = c.start(asking, s)
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = unavailable("server %s: no answer within %v", c.base, askTimeout)
	}
	return r, err
}

// inDoubt adds to err that an earlier try may have started the action, unless err is that a key is held:
// then no try did, because the server would have repeated its answer.
func inDoubt(err error, maybe bool) error {
	var held *kapi.HeldError
	if !maybe || errors.As(err, &held) {
		return err
	}
	return fmt.Errorf("%w; %w", err, errMaybeStarted)
}
