package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kettubot/kapi/internal/backoff"
	"github.com/kettubot/kapi/internal/keep"
)

// A server that has no connection left refuses newcomers, and each refusal costs it a process. So the processes of
// one user on one machine wait for a connection in a line: the one that has the lock on a file tries again and again,
// the others watch the lock. Processes that have a connection see in the same way that there is a line. Then they let
// their connection go whenever they don't use it.

const (
	// firstTry and lastTry are the pauses between the tries of the process at the head of the line.
	firstTry = 20 * time.Millisecond
	lastTry  = 300 * time.Millisecond
	// nextLook is how often, on average, the others look whether they are at its head.
	nextLook = 25 * time.Millisecond
	// outOfLine is how long a process stays in line before it tries all the same: the process at the head may be
	// stopped.
	outOfLine = 2 * time.Second
	// letGoAfter is how long a connection is kept without use while others wait for one.
	letGoAfter = 100 * time.Millisecond
)

// isFull reports whether err means that a server, or a pooler, has no connection left.
func isFull(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // each is looked at
		full := false
		for _, err := range joined.Unwrap() {
			if refusedForGood(err) {
				return false
			}
			full = full || isFull(err)
		}
		return full
	}
	var refused *pgconn.PgError
	return errors.As(err, &refused) && saysFull(refused)
}

func saysFull(refused *pgconn.PgError) bool {
	return refused.Code == "53300" || strings.HasPrefix(refused.Code, "08") && strings.Contains(refused.Message, "max_client_conn") // PgBouncer
}

// A line is where processes wait for a connection to one server.
type line struct {
	name string
	mu   sync.Mutex
	file *os.File // nil until it is first needed
}

// newLine returns the line for a server, which its hosts name.
func newLine(hosts []string) *line {
	sum := sha256.Sum256([]byte(strings.Join(hosts, ",")))
	return &line{name: "postgres-line-" + hex.EncodeToString(sum[:8])}
}

// exists reports whether a process waits in the line.
func (l *line) exists() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		l.file, _ = openSide(l.name)
	}
	if l.file == nil {
		return false
	}
	held, err := keep.Held(l.file, 0)
	return held && err == nil
}

func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
	}
}

// enter waits in the line until this process is at its head, and returns its place. It stays at the head until it closes
// that. After outOfLine, and where there is no line, the place is nil.
func (l *line) enter(ctx context.Context) *os.File {
	f, err := openSide(l.name)
	if err != nil {
		return nil
	}
	end := time.After(outOfLine/2 + rand.N(outOfLine))
	for {
		got, err := keep.Lock(f, 0)
		if got {
			return f
		}
		if err != nil {
			break
		}
		select {
		case <-time.After(nextLook/2 + rand.N(nextLook)):
			continue
		case <-end:
		case <-ctx.Done():
		}
		break
	}
	_ = f.Close()
	return nil
}

// connectInTurn is target.connect, but while the server has no connection left it waits in line and tries again, for
// as long as ctx allows and at most for patience. It calls full with each such refusal.
func (l *link) connectInTurn(ctx context.Context, g *guard, full func(error)) (connected, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var place *os.File
	defer func() {
		if place != nil {
			_ = place.Close()
		}
	}()
	if l.at.line.exists() {
		place = l.at.line.enter(ctx)
	}
	for pauses := backoff.New(firstTry, lastTry); ; {
		c, err := l.at.connect(ctx, g, l)
		if !isFull(err) {
			return c, err
		}
		full(err)
		if place == nil {
			place = l.at.line.enter(ctx)
		}
		pause := pauses.Next()
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return c, err
		}
	}
}
