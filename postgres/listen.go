package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/backoff"
)

const (
	// pingEvery is how long the listener hears nothing before it sends a ping: without one it would never
	// notice that a connection has silently broken.
	pingEvery = 10 * time.Second
	// pingWithin limits the answer to a ping, and the arrival of the store's own test notification.
	pingWithin = 3 * time.Second
	// pollEvery is how often the peer is woken while there are no notifications.
	pollEvery = 200 * time.Millisecond
	// listenAgain is the longest pause between attempts to listen.
	listenAgain = 30 * time.Second
)

var errDeaf = errors.New("a test notification did not arrive (behind PgBouncer, give a direct DSN of the database to listen: --store-listen)")

// Listen implements store.Store. While notifications don't arrive, it calls wake several times a second,
// and tries to listen again from time to time. Listen returns an error once when listening begins to fail;
// called again, it returns the next one only after listening has worked in between.
func (s *Store) Listen(ctx context.Context, wake func()) error {
	s.served.Add(1) // Close waits for it
	defer s.served.Done()
	s.listeners.Add(1)
	defer s.listeners.Add(-1)
	s.stopRinging() // from now on the ringer hears what arrives here
	return s.listenFor(ctx, wake)
}

// listenFor is Listen, for the peer or for the ringer.
func (s *Store) listenFor(ctx context.Context, wake func()) error {
	select {
	case s.ears <- struct{}{}:
		defer func() { <-s.ears }()
	case <-s.closed:
		return s.fail(errClosed)
	case <-ctx.Done():
		return nil
	}
	for pauses := backoff.New(time.Second, listenAgain); ; {
		began := time.Now()
		err := s.hear(ctx, wake)
		switch {
		case ctx.Err() != nil:
			return nil
		case s.isClosed():
			return s.fail(errClosed)
		case isFull(err): // then the peer polls once a second, like any other
			wake()
			s.pause(ctx, listenAgain/6+rand.N(listenAgain/6))
			continue
		case errors.Is(err, errWide):
			continue
		case s.deaf.CompareAndSwap(false, true):
			return s.fail(fmt.Errorf("listen: %w", explain(err)))
		}
		if time.Since(began) > listenAgain { // listening worked for a while
			pauses.Reset()
		}
		if !s.look(ctx, wake, pauses.Next()) {
			return nil
		}
	}
}

// look calls wake every pollEvery during a pause. It is false if ctx has ended.
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

// pause waits, until ctx ends or the store is closed.
func (s *Store) pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	case <-s.closed:
	}
}

// hear listens until that fails.
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
	defer s.hears.Store(false)
	heard := func(n *pgconn.Notification) {
		if !s.ringHeard(n.Payload) && n.Payload == "" && n.PID != s.speaks.Load() {
			wake()
		}
	}
	if s.ear == s.at && !s.wide.Load() && !s.closing.Load() {
		if err := s.hearBetween(ctx, wake, heard); !errors.Is(err, errPooled) {
			return err
		}
	}
	return s.hearAlone(ctx, wake, heard)
}

// hearAlone listens on a connection of its own until that breaks.
func (s *Store) hearAlone(ctx context.Context, wake func(), heard func(*pgconn.Notification)) error {
	l := s.newLink(s.ear, &gate{}, "listen")
	defer l.end()
	if _, err := l.ready(ctx); err != nil {
		return err
	}
	if err := s.listen(ctx, l); err != nil {
		return err
	}
	if err := s.hearMyself(ctx, l); err != nil {
		return err
	}
	s.deaf.Store(false)
	l.heard = heard
	s.missed.Store(true)
	s.hears.Store(true)
	wake() // for commits from before it listened
	for {
		err := limited(ctx, pingEvery, l.conn.PgConn().WaitForNotification)
		if err != nil && ctx.Err() == nil && !l.broken() { // nothing arrived for pingEvery
			err = limited(ctx, pingWithin, l.conn.Ping)
		}
		if err != nil {
			return err
		}
	}
}

func (s *Store) listen(ctx context.Context, l *link) error {
	return limited(ctx, pingWithin, func(ctx context.Context) error {
		_, err := l.conn.Exec(ctx, s.sql.listen, pgx.QueryExecModeSimpleProtocol)
		return err
	})
}

// hearMyself checks that notifications arrive, by sending one over another connection: a pooler accepts
// a LISTEN, and then gives the connection to another client.
func (s *Store) hearMyself(ctx context.Context, l *link) error {
	nonce := newID()
	err := limited(ctx, pingWithin, func(ctx context.Context) error {
		return s.read(ctx, func(_ *link, b *pgx.Batch) { b.Queue(`SELECT pg_notify($1, $2)`, s.sql.channel, nonce) })
	})
	if err != nil {
		return err
	}
	arrived := false
	l.heard = func(n *pgconn.Notification) { arrived = arrived || n.Payload == nonce }
	err = limited(ctx, pingWithin, func(ctx context.Context) error {
		for !arrived {
			if err := l.conn.PgConn().WaitForNotification(ctx); err != nil {
				return err
			}
		}
		return nil
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
