package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/backoff"
)

// An unreachedError is returned when a link can't be used, nothing was done yet, and the problem may go
// away on its own.
type unreachedError struct {
	error
	// waiting is set if the attempt to connect goes on.
	waiting bool
}

func (e *unreachedError) Unwrap() error { return e.error }

// unreached is like fail, for a link with which nothing was done yet: it returns an unreachedError if it
// is worth trying again.
func (s *Store) unreached(ctx context.Context, err error) error {
	if ctx.Err() == nil && passes(err) {
		var waiting *waitingError
		return &unreachedError{s.fail(err), errors.As(err, &waiting)}
	}
	return s.fail(err)
}

// useInTime is like use, but tries again until ctx ends while the server can't be reached, because it
// restarts or a standby is about to take over. Between attempts the link is back in its pool, so that
// Quiesce doesn't have to wait all that time.
//
// When ctx ends, the error is the last one that says what was wrong with the server.
func (s *Store) useInTime(ctx context.Context, by lane, f func(*link) error) error {
	return s.useWhile(ctx, func(error) bool { return true }, by, f)
}

// useWhile is useInTime, but tries again only while again returns true for the error.
func (s *Store) useWhile(ctx context.Context, again func(error) bool, by lane, f func(*link) error) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	defer s.whileOthersCommit(ctx)()
	var last error
	for pauses := backoff.New(firstPause, lastPause); ; {
		err := s.use(ctx, by, f)
		var unreached *unreachedError
		switch {
		case err == nil:
			return nil
		case !errors.As(err, &unreached) && last != nil && ctx.Err() != nil && !errors.Is(err, kapi.ErrOutcomeUnknown):
			return last
		case !errors.As(err, &unreached), !again(err):
			return err
		}
		last = err
		pause := pauses.Next()
		if unreached.waiting { // the next call goes on waiting for the same attempt
			pause = 0
		}
		select {
		case <-time.After(pause):
		case <-s.closed:
			return s.fail(errClosed)
		case <-ctx.Done():
			return last
		}
	}
}

// bounded returns ctx, limited to patience if it has no deadline.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, patience)
}

// passes reports whether a problem that prevented or broke a connection may go away on its own. With
// several hosts it is enough if this is true for one of them; but if one refuses the user, the database
// or a setting, the others would, too.
func passes(err error) bool { return anyIs(err, onePasses) }

// anyIs reports whether is holds for an error or, if there is one for each of several hosts, for one of them. It is false
// if one of them refuses the user, the database or a setting.
func anyIs(err error, is func(error) bool) bool {
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // each is looked at
	if !ok {
		return is(err)
	}
	some := false
	for _, err := range joined.Unwrap() {
		if refusedForGood(err) {
			return false
		}
		some = some || anyIs(err, is)
	}
	return some
}

func onePasses(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return isPassing(refused.Code)
	}
	var unknown *net.DNSError
	if errors.As(err, &unknown) {
		return unknown.IsTimeout || unknown.IsTemporary
	}
	if errors.Is(err, pgconn.ErrReadOnlyConnection) || os.IsTimeout(err) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	for _, passing := range []error{
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
		syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN,
		syscall.ENOENT, // a Unix socket doesn't exist while its server is down
		syscall.EAGAIN, // the backlog of a Unix socket is full
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

func refusedForGood(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && !isPassing(refused.Code)
}

// isPassing reports whether an SQLSTATE is of a problem that may go away on its own. A pooler answers with
// class 08 while its server is away.
func isPassing(code string) bool {
	switch code {
	case "57P01", "57P02", "57P03", "57P05", // stopping, crashed, starting, ended an idle session
		"53300", // no connections left
		"25006": // a standby
		return true
	}
	return strings.HasPrefix(code, "08")
}
