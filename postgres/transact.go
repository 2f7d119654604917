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
)

const (
	// lastMoment is how long a COMMIT, and finding out what became of it, may take beyond the end
	// of its context: the answer is worth more than the time.
	lastMoment = time.Second
	// patience bounds the wait for the lock of who has all the time in the world.
	patience = 30 * time.Second
)

// A job is what one write transaction does. It takes two round trips: one that begins, takes the
// lock and reads, and one that writes and commits.
type job struct {
	// read queues what is read under the lock. Each statement sees all that was committed before
	// it began (READ COMMITTED), and so before the lock was had.
	read func(*link, *pgx.Batch)
	// more, if it is not nil, is called once that is read, and says whether read is to be called
	// again: then there is a third round trip.
	more func() bool
	// write queues what is written; false is nothing, and rolls back.
	write func(*pgx.Batch) (bool, error)
	// silent: nobody needs to be woken.
	silent bool
}

// write runs a job.
func (s *Store) write(ctx context.Context, j job) (wrote bool, err error) {
	if j.silent { // else it reads the head under the lock
		if err := s.upToDate(); err != nil {
			return false, err
		}
	}
	err = s.useInTime(ctx, s.writer, func(l *link) error {
		wrote, err = s.transact(ctx, l, j)
		return err
	})
	return wrote, err
}

func (s *Store) transact(ctx context.Context, l *link, j job) (bool, error) {
	if err := s.begin(ctx, l, j); err != nil {
		l.rollback()
		return false, err // nothing has happened yet: it may be tried on a new connection
	}
	b := &pgx.Batch{}
	wrote, err := j.write(b)
	if err != nil || !wrote {
		l.rollback()
		return false, explain(err)
	}
	return true, s.commit(ctx, l, b, j.silent)
}

// begin begins, takes the lock and reads.
func (s *Store) begin(ctx context.Context, l *link, j job) error {
	b := &pgx.Batch{}
	b.Queue("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
	b.Queue(settings, s.limits(ctx)...)
	b.Queue(takeLock, s.sql.lock)
	j.read(l, b)
	err := l.conn.SendBatch(ctx, b).Close()
	if err != nil || j.more == nil || !j.more() {
		return err
	}
	b = &pgx.Batch{}
	j.read(l, b)
	return l.conn.SendBatch(ctx, b).Close()
}

// limits are the parameters of settings: how long this process may stand still, and how long it
// waits for the lock. Its context does that too, but not while it is stopped.
func (s *Store) limits(ctx context.Context) []any {
	wait := patience
	if end, ok := ctx.Deadline(); ok {
		wait = max(time.Until(end), 0) + time.Second
	}
	return []any{milliseconds(s.standstill), milliseconds(wait)}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// rollback ends a transaction that came to nothing.
func (l *link) rollback() {
	if l.broken() || l.conn.PgConn().TxStatus() == 'I' {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), letGo)
	defer cancel()
	if _, err := l.conn.Exec(ctx, "ROLLBACK"); err != nil {
		l.drop() // the server rolls back
	}
}

// commit writes and commits, in one round trip. Its error wraps kapi.ErrUnavailable; then nothing
// was kept, unless it says kapi.ErrOutcomeUnknown.
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
		return nil
	case errors.Is(err, errInDoubt):
		return s.lookUp(ctx, l, err)
	}
	return explain(err)
}

// errInDoubt says that a COMMIT may have succeeded, or not everywhere that it must.
var errInDoubt = errors.New("the outcome of the commit is not known")

// land queues a COMMIT behind what is in the batch, and sends it all. An error that is not
// errInDoubt says that the transaction was rolled back.
//
// When a wait for a synchronous standby is cancelled PostgreSQL commits all the same and only
// warns (in the server's language, so any warning will do). Such a commit is in doubt too.
func (s *Store) land(ctx context.Context, l *link, b *pgx.Batch) error {
	committed := false
	b.Queue("COMMIT").Exec(func(tag pgconn.CommandTag) error {
		committed = tag.String() == "COMMIT" // or ROLLBACK
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

// lookUp finds out what became of the last transaction, for as long as ctx allows.
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
// It takes the lock, which a transaction that is still under way holds, and commits a change of
// its own: when that is where it must be (on a synchronous standby too), so is all that was
// committed before.
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

// linger returns a context that ends a while after ctx does.
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
