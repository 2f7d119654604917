package postgres

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A light peer listens only while it waits, and on its only connection: whoever needs that disturbs the listener.

// hearFor is how long the listener waits for notifications before it looks whether others need its connection.
const hearFor = time.Second

var (
	// errPooled is returned where a session can't listen, because there is a pooler.
	errPooled = errors.New("there is a pooler")
	// errWide is returned when the peer has become a full one.
	errWide = errors.New("the peer is a full one now")
	// errCrowd is returned while others wait for a connection. It is a refusal like theirs.
	errCrowd = &pgconn.PgError{Code: "53300", Severity: "FATAL", Message: "others wait for a connection"}
)

// hearBetween listens on the writer's connection while nobody else uses that.
func (s *Store) hearBetween(ctx context.Context, wake func(), heard func(*pgconn.Notification)) error {
	s.hearing.Store(true)
	defer func() {
		s.hearing.Store(false)
		select {
		case l := <-s.writer:
			s.put(l)
		default: // whoever uses it puts it back
		}
	}()
	for {
		l, err := s.await(ctx, s.writer)
		if err != nil {
			return err
		}
		err = s.hearOnce(ctx, l, wake, heard)
		if l.broken() {
			l.drop()
		}
		s.put(l)
		switch {
		case err != nil:
			return err
		case s.wide.Load():
			return errWide
		case s.closing.Load():
			return errClosed
		}
		s.pause(ctx, time.Millisecond) // whoever needs the link gets it first
	}
}

// hearOnce listens until somebody needs the link, for at most hearFor.
func (s *Store) hearOnce(ctx context.Context, l *link, wake func(), heard func(*pgconn.Notification)) error {
	if _, err := l.ready(ctx); err != nil {
		return err
	}
	switch {
	case !l.direct:
		return errPooled
	case l.tight, l.at.line.exists():
		return errCrowd
	}
	if !l.listens {
		if err := s.listen(ctx, l); err != nil {
			return err
		}
		l.listens, l.heard = true, heard
		s.deaf.Store(false)
		s.missed.Store(true)
		s.hears.Store(true)
		wake() // for commits from before it listened
	}
	ctx, cancel := context.WithTimeout(ctx, hearFor)
	var watching sync.WaitGroup
	defer watching.Wait() // otherwise it might take a request that is meant for the next call
	defer cancel()
	watching.Go(func() {
		select {
		case <-s.disturb:
			cancel()
		case <-ctx.Done():
		}
	})
	for ctx.Err() == nil {
		if err := l.conn.PgConn().WaitForNotification(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	if l.broken() { // only a timeout leaves it usable
		return errors.New("the connection broke")
	}
	return nil
}

// unlisten makes a session stop listening.
func (s *Store) unlisten(l *link) {
	if !l.broken() {
		err := limited(context.Background(), letGo, func(ctx context.Context) error {
			_, err := l.conn.Exec(ctx, s.sql.unlisten, pgx.QueryExecModeSimpleProtocol)
			return err
		})
		if err != nil {
			l.drop()
		}
	}
	l.listens, l.heard = false, nil
}
