package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kettubot/kapi"
)

// A store of a light peer has one connection, the writer. It makes a second one only for a renewal that has waited for
// the first for long: a commit may hold that while it waits for the lock. The store of a full peer also has two
// readers, which renew, too.

const (
	// aside is how long a renewal waits for a light peer's connection before it uses another one.
	aside = 500 * time.Millisecond
	// keptWhileTight is how long a light peer keeps a connection that it doesn't use, while the server has few left.
	keptWhileTight = 300 * time.Millisecond
	// turn is how long a light peer may keep a connection that it does use, while others wait for one.
	turn = time.Second
)

// A pool has one link, while that is not in use.
type pool chan *link

// A lane takes a link from the pools that serve a purpose.
type lane func(context.Context) (*link, error)

// take takes the first link of some pools that is free. They are at most three.
func (s *Store) take(ctx context.Context, from ...pool) (*link, error) {
	for _, p := range from {
		select {
		case l := <-p:
			return l, nil
		default:
		}
	}
	s.disturbListener()
	return s.await(ctx, from...)
}

// disturbListener makes a listener give back the writer's link.
func (s *Store) disturbListener() {
	select {
	case s.disturb <- struct{}{}:
	default:
	}
}

// await is take, but it doesn't disturb the listener.
func (s *Store) await(ctx context.Context, from ...pool) (*link, error) {
	var others [2]pool
	copy(others[:], from[1:])
	select {
	case l := <-from[0]:
		return l, nil
	case l := <-others[0]:
		return l, nil
	case l := <-others[1]:
		return l, nil
	case <-s.closed:
		return nil, errClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: busy: %w", kapi.ErrUnavailable, context.Cause(ctx))
	}
}

func (s *Store) toWrite(ctx context.Context) (*link, error) { return s.take(ctx, s.writer) }

func (s *Store) toRead(ctx context.Context) (*link, error) {
	if s.wide.Load() {
		return s.take(ctx, s.readers[0], s.readers[1])
	}
	return s.take(ctx, s.writer)
}

func (s *Store) toRenew(ctx context.Context) (*link, error) {
	if s.wide.Load() {
		return s.take(ctx, s.readers[0], s.writer, s.renewer)
	}
	soon, cancel := context.WithTimeout(ctx, aside)
	defer cancel()
	if l, err := s.take(soon, s.writer); err == nil || ctx.Err() != nil {
		return l, err
	}
	return s.take(ctx, s.writer, s.renewer)
}

// endAside is called when a renewal has ended. It ends an attempt to make a light peer's second connection: nobody would
// take that, and it would stay open.
func (s *Store) endAside() {
	if s.wide.Load() {
		return
	}
	select {
	case l := <-s.renewer:
		l.end()
		s.renewer <- l
	default: // another renewal uses it
	}
}

// put gives a link back.
func (s *Store) put(l *link) {
	l.uses++
	if l.listens && !s.hearing.Load() {
		s.unlisten(l)
	}
	wait := time.Duration(0)
	switch crowd := l.conn != nil && !s.wide.Load(); {
	case !crowd:
	case l.home != s.writer:
		l.drop()
	case l.at.line.exists():
		wait = letGoAfter
		if l.since.Sub(l.letGo) < 2*turn { // it is needed often, and each new connection costs more
			wait = turn
		}
		if time.Since(l.since) > turn {
			l.giveUp()
		}
	case l.tight:
		wait = keptWhileTight
	}
	uses, dropped := l.uses, l.conn == nil
	l.home <- l
	if wait > 0 && !dropped {
		s.letGoUnused(uses, wait)
	}
}

// letGoUnused closes a light peer's connection once it was not used for a while. uses counts its uses so far.
func (s *Store) letGoUnused(uses int, wait time.Duration) {
	if !s.leaving.CompareAndSwap(false, true) {
		return
	}
	s.served.Go(func() {
		defer s.leaving.Store(false)
		for {
			select {
			case <-time.After(wait):
			case <-s.closed:
				return
			}
			select {
			case l := <-s.writer:
				unused := l.uses == uses
				if uses = l.uses; unused && !s.wide.Load() {
					l.giveUp()
				}
				s.writer <- l
				if unused {
					return
				}
			default:
			}
		}
	})
}

// giveUp closes the connection, for others.
func (l *link) giveUp() {
	l.drop()
	l.letGo = time.Now()
}

// widen notes that the peer is a full one, or not.
func (s *Store) widen(full bool) {
	if s.wide.Swap(full) == full || full {
		return
	}
	for _, p := range []pool{s.readers[0], s.readers[1], s.renewer} {
		select {
		case l := <-p:
			s.put(l)
		default: // whoever uses it puts it back
		}
	}
}

// use calls f with a link. If the link turns out to have broken while nobody used it, use calls f
// once more with a new one. So f must have changed nothing when it returns the error of a broken link.
func (s *Store) use(ctx context.Context, by lane, f func(*link) error) error {
	l, err := by(ctx)
	if err != nil {
		return s.fail(err)
	}
	defer s.put(l)
	for {
		fresh, err := l.ready(ctx)
		if err != nil {
			l.drop()
			return s.unreached(ctx, err)
		}
		err = f(l)
		if l.broken() {
			l.drop()
		}
		switch {
		case err == nil || !stale(err) || l.conn != nil || ctx.Err() != nil:
			return s.fail(err)
		case fresh:
			return s.unreached(ctx, err)
		}
	}
}

// stale reports whether err means that the connection broke, not that the server refused something. Two
// codes of the server mean that, too: it ended the connection.
func stale(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code == "57P01" || refused.Code == "57P05"
	}
	return !errors.Is(err, kapi.ErrUnavailable) // an explained error comes from a later step of a transaction
}
