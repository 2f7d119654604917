package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/backoff"
)

const (
	// pingEvery is how long the listener believes in silence: a link that broke without a word
	// is never noticed by waiting.
	pingEvery = 10 * time.Second
	// pingWithin is how long the answer may take, or a notification that the store sends itself.
	pingWithin = 3 * time.Second
	// pollEvery is how often others are looked for while they can't be heard.
	pollEvery = 200 * time.Millisecond
	// listenAgain is the longest pause between two attempts to listen.
	listenAgain = 30 * time.Second
)

var errDeaf = errors.New("a notification that was sent did not come back (behind PgBouncer, name the database itself to listen: --store-listen)")

// Listen implements store.Store. Where it can't hear it looks, several times a second, and tries
// to hear again from time to time. It returns an error only once for all that time: then it is
// called again, and goes on.
func (s *Store) Listen(ctx context.Context, wake func()) error {
	s.served.Add(1) // Close waits for it
	defer s.served.Done()
	for pauses := backoff.New(time.Second, listenAgain); ; {
		began := time.Now()
		err := s.hear(ctx, wake)
		switch {
		case ctx.Err() != nil:
			return nil
		case s.isClosed():
			return s.fail(errClosed)
		case s.deaf.CompareAndSwap(false, true):
			return s.fail(fmt.Errorf("listen: %w", explain(err)))
		}
		if time.Since(began) > listenAgain { // it has been heard for a while
			pauses.Reset()
		}
		if !s.look(ctx, wake, pauses.Next()) {
			return nil
		}
	}
}

// look wakes again and again for a while; it is false if nobody wants to be woken any more.
func (s *Store) look(ctx context.Context, wake func(), pause time.Duration) bool {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	end := time.After(pause)
	for {
		wake()
		select {
		case <-tick.C:
		case <-end:
			return true
		case <-ctx.Done():
			return false
		case <-s.closed:
			return true
		}
	}
}

func (s *Store) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// hear listens on a connection of its own, until that breaks.
func (s *Store) hear(ctx context.Context, wake func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.served.Go(func() {
		select {
		case <-s.closed:
			cancel()
		case <-ctx.Done():
		}
	})
	l := s.newLink(s.listen, &gate{}, "listen")
	defer l.end()
	if _, err := l.ready(ctx); err != nil {
		return err
	}
	if err := limited(ctx, pingWithin, func(ctx context.Context) error {
		_, err := l.conn.Exec(ctx, s.sql.listen, pgx.QueryExecModeSimpleProtocol)
		return err
	}); err != nil {
		return err
	}
	if err := s.hearMyself(ctx, l); err != nil {
		return err
	}
	s.deaf.Store(false)
	wake() // for what was committed before it listened
	for {
		err := limited(ctx, pingEvery, func(ctx context.Context) error {
			n, err := l.conn.WaitForNotification(ctx)
			if err == nil && n.Payload == "" && n.PID != s.speaks.Load() {
				wake()
			}
			return err
		})
		if err != nil && ctx.Err() == nil && !l.broken() { // quiet
			err = limited(ctx, pingWithin, l.conn.Ping)
		}
		if err != nil {
			return err
		}
	}
}

// hearMyself checks that what others send arrives: a pooler takes a LISTEN, and then gives the
// connection to somebody else.
func (s *Store) hearMyself(ctx context.Context, l *link) error {
	nonce := newID()
	err := limited(ctx, pingWithin, func(ctx context.Context) error {
		return s.read(ctx, func(_ *link, b *pgx.Batch) { b.Queue(`SELECT pg_notify($1, $2)`, s.sql.channel, nonce) })
	})
	if err != nil {
		return err
	}
	err = limited(ctx, pingWithin, func(ctx context.Context) error {
		for {
			if n, err := l.conn.WaitForNotification(ctx); err != nil || n.Payload == nonce {
				return err
			}
		}
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: %w", kapi.ErrUnavailable, errDeaf)
	}
	return err
}

func limited(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return f(ctx)
}
