package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/backoff"
	"github.com/kettubot/kapi/internal/store"
)

const (
	// lastMoment is how much longer than its context a COMMIT and the lookup of its outcome may take,
	// so that the outcome is known more often.
	lastMoment = time.Second
	// patience is the time limit of calls whose context has no deadline.
	patience = 30 * time.Second
)

// A job describes one write transaction. It takes two round trips: the first begins, takes the
// lock and reads, the second writes and commits.
type job struct {
	// read queues the reads under the lock. Each statement sees everything that was committed before
	// it began (READ COMMITTED), so also everything from before the lock was taken.
	read func(*link, *pgx.Batch)
	// more, if it is not nil, is called after the reads. While it returns true, read is called again,
	// which takes another round trip.
	more func() bool
	// write queues the writes. If it returns false or an error, the transaction is rolled back.
	write func(*pgx.Batch) (bool, error)
	// silent is set if no peer needs to be notified. quiet, if it is not nil, reports that once write has returned.
	silent bool
	quiet  func() bool
}

// write runs a job.
func (s *Store) write(ctx context.Context, j job) (wrote bool, err error) {
	if j.silent { // the others read the head under the lock
		if err := s.upToDate(); err != nil {
			return false, err
		}
	}
	err = s.useInTime(ctx, s.toWrite, func(l *link) error {
		wrote, err = s.transact(ctx, l, j)
		return err
	})
	return wrote, err
}

func (s *Store) transact(ctx context.Context, l *link, j job) (bool, error) {
	if err := s.begin(ctx, l, j); err != nil {
		l.rollback()
		return false, err // nothing is written yet, so use may try it on a new connection
	}
	b := &pgx.Batch{}
	wrote, err := j.write(b)
	if err != nil || !wrote {
		l.rollback()
		return false, explain(err)
	}
	return true, s.commit(ctx, l, b, j.silent || j.quiet != nil && j.quiet())
}

// begin begins the transaction, takes the lock and reads.
func (s *Store) begin(ctx context.Context, l *link, j job) error {
	b := &pgx.Batch{}
	b.Queue("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
	b.Queue(settings, s.limits(ctx)...)
	b.Queue(takeLock, s.sql.lock)
	j.read(l, b)
	err := l.conn.SendBatch(ctx, b).Close()
	for err == nil && j.more != nil && j.more() {
		b = &pgx.Batch{}
		j.read(l, b)
		err = l.conn.SendBatch(ctx, b).Close()
	}
	return err
}

// limits returns the parameters of settings: how long this process may stand still, and how long it waits
// for the lock. The context limits that wait, too, but not while this process is stopped. A patient one may end later than
// it says.
func (s *Store) limits(ctx context.Context) []any {
	wait := patience
	if end, ok := ctx.Deadline(); ok {
		left := max(time.Until(end), 0) + time.Second
		if wait = left; store.IsPatient(ctx) {
			wait = max(left, patience)
		}
	}
	return []any{milliseconds(s.standstill), milliseconds(wait)}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// rollback rolls the transaction back, if one is open.
func (l *link) rollback() {
	if l.broken() || l.conn.PgConn().TxStatus() == 'I' {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), letGo)
	defer cancel()
	if _, err := l.conn.Exec(ctx, "ROLLBACK"); err != nil {
		l.drop() // then the server rolls it back
	}
}

// commit writes and commits, in one round trip. Its error wraps kapi.ErrUnavailable. Unless it also wraps
// kapi.ErrOutcomeUnknown, nothing was committed.
func (s *Store) commit(ctx context.Context, l *link, b *pgx.Batch, silent bool) error {
	s.count++
	b.Queue(s.sql.written, s.id, s.count)
	if !silent {
		s.speaks.Store(l.conn.PgConn().PID())
		b.Queue(s.sql.notify)
	}
	ctx, cancel := linger(ctx, lastMoment)
	defer cancel()
	err := s.land(ctx, l, b)
	switch {
	case err == nil:
		s.side.noteTurn()
		return nil
	case errors.Is(err, errInDoubt):
		return s.lookUp(ctx, l, err)
	}
	return explain(err)
}

// errInDoubt is returned when a COMMIT may have succeeded, or has succeeded but not on the standby.
var errInDoubt = errors.New("the outcome of the commit is not known")

// land adds a COMMIT to the batch and sends it. If the error is not errInDoubt, the transaction was
// rolled back.
//
// When a wait for a synchronous standby is cancelled, PostgreSQL commits locally and only warns, in the
// server's language. So after any warning the commit is in doubt.
func (s *Store) land(ctx context.Context, l *link, b *pgx.Batch) error {
	committed := false
	b.Queue("COMMIT").Exec(func(tag pgconn.CommandTag) error {
		committed = tag.String() == "COMMIT" // ROLLBACK if a statement failed
		return nil
	})
	l.warned = false
	l.guard.sealed.Store(true)
	err := l.conn.SendBatch(ctx, b).Close()
	switch {
	case committed && !l.warned:
		if !l.broken() {
			l.guard.sealed.Store(false)
		}
		return nil
	case committed:
		l.guard.sealed.Store(false)
		return fmt.Errorf("%w: the wait for the synchronous standby was cancelled", errInDoubt)
	case l.broken():
		return fmt.Errorf("%w: %w", errInDoubt, err)
	}
	l.guard.sealed.Store(false)
	l.rollback()
	if err == nil {
		err = errors.New("the transaction was rolled back")
	}
	return err
}

// lookUp finds out the outcome of the last transaction. It tries until ctx ends.
func (s *Store) lookUp(ctx context.Context, l *link, cause error) error {
	for pauses := backoff.New(20*time.Millisecond, time.Second); ; {
		n, err := s.lastWritten(ctx, l)
		switch {
		case err == nil && n == s.count:
			return nil
		case err == nil:
			return fmt.Errorf("%w: it was not committed: %w", kapi.ErrUnavailable, flat{cause})
		}
		select {
		case <-time.After(pauses.Next()):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w: %w", kapi.ErrUnavailable, kapi.ErrOutcomeUnknown, flat{cause})
		}
	}
}

// lastWritten returns the number of the last transaction of this store that was committed.
//
// It takes the lock, which a transaction still under way would hold, and commits a change of its own.
// When that is durable, on a synchronous standby too, so are all commits before it.
func (s *Store) lastWritten(ctx context.Context, l *link) (n int64, err error) {
	if _, err := l.ready(ctx); err != nil {
		return 0, err
	}
	b := &pgx.Batch{}
	b.Queue("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
	b.Queue(settings, s.limits(ctx)...)
	b.Queue(takeLock, s.sql.lock)
	b.Queue(s.sql.wroteBefore, s.id).QueryRow(func(row pgx.Row) error {
		if err := row.Scan(&n); !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		return nil
	})
	if err := l.conn.SendBatch(ctx, b).Close(); err != nil {
		l.rollback()
		return 0, err
	}
	b = &pgx.Batch{}
	b.Queue(s.sql.written, s.id, n)
	return n, s.land(ctx, l, b)
}

// linger returns a context that ends d after ctx does.
func linger(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	long, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(d):
			cancel(context.Cause(ctx))
		case <-long.Done():
		}
	})
	return long, func() {
		stop()
		cancel(nil)
	}
}
