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

// An unreachedError is why a link could not be used: nothing has happened, and what is wrong may
// pass by itself.
type unreachedError struct{ error }

func (e *unreachedError) Unwrap() error { return e.error }

// unreached is fail for a link with which nothing was done yet: it marks what is worth trying again.
func (s *Store) unreached(ctx context.Context, err error) error {
	if ctx.Err() == nil && passes(err) {
		return &unreachedError{s.fail(err)}
	}
	return s.fail(err)
}

// useInTime is use, and tries again until ctx ends while the server can't be reached: it restarts,
// or a standby is about to take over. The link is lent to nobody during the pauses, so who wants to
// stop this process (Quiesce) isn't held up for all that time.
//
// The error is the last that tells what was wrong. The end of the time alone says nothing.
func (s *Store) useInTime(ctx context.Context, p pool, f func(*link) error) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	var last error
	for pauses := backoff.New(firstPause, lastPause); ; {
		err := s.use(ctx, p, f)
		var unreached *unreachedError
		switch {
		case err == nil:
			return nil
		case !errors.As(err, &unreached) && last != nil && ctx.Err() != nil && !errors.Is(err, kapi.ErrOutcomeUnknown):
			return last
		case !errors.As(err, &unreached):
			return err
		}
		last = err
		select {
		case <-time.After(pauses.Next()):
		case <-s.closed:
			return s.fail(errClosed)
		case <-ctx.Done():
			return last
		}
	}
}

// bounded returns a context with a deadline: who has all the time in the world is told sooner.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, patience)
}

// passes reports whether what kept a connection from being made, or broke it, passes by itself.
// With several hosts it is enough if one of them may be back; but who is refused by one for what he
// is or wants would be by the others too.
func passes(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // each is looked at
		some := false
		for _, err := range joined.Unwrap() {
			if refusedForGood(err) {
				return false
			}
			some = some || passes(err)
		}
		return some
	}
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
		syscall.ENOENT, // a socket in the file system is gone while its server is
		syscall.EAGAIN, // or has too many who wait
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

// isPassing is by SQLSTATE. Class 08 is also what a pooler answers whose server is away.
func isPassing(code string) bool {
	switch code {
	case "57P01", "57P02", "57P03", "57P05", // it stops, crashed, starts
		"53300", // it has no connections left
		"25006": // it is a standby
		return true
	}
	return strings.HasPrefix(code, "08")
}
