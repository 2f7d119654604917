package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kettubot/kapi/internal/backoff"
	"github.com/kettubot/kapi/internal/keep"
)

// A server that has no connection left refuses newcomers, and each refusal costs it a process, even if nobody waits for
// the answer any more. So the processes of one user on one machine wait for a connection in a line: each has a ticket, and
// a lock on that byte of a file which is as far behind as its ticket is high. The one with the lowest tries again and
// again, the others watch the locks. Processes that have a connection see in the same way that there is a line. Then they
// let their connection go when they don't use it.

const (
	// firstTry and lastTry are the pauses between the tries of the process at the head of the line.
	firstTry = 20 * time.Millisecond
	lastTry  = 300 * time.Millisecond
	// nextLook is how often, on average, the next one looks whether it is at the head. The others look more rarely, by
	// perPlace for each ticket that they are behind: the line doesn't move faster than that, and if hundreds looked
	// all the time, the server would have no processor left on this machine.
	nextLook = 25 * time.Millisecond
	perPlace = 10 * time.Millisecond
	// outOfLine is about how long the head of the line may stay the same before the next ones try all the same: it may
	// be a process that is stopped. One that is further behind, by as much as spread tickets, waits twice as long, and
	// so on: it may also be that the server is too busy, and then a whole line must not turn to it.
	outOfLine = 2 * time.Second
	spread    = 32
	// letGoAfter is how long a connection is kept without use while others wait for one.
	letGoAfter = 100 * time.Millisecond
	// The counter of tickets is in the first bytes of the file. Who takes a ticket has a lock on the first. The
	// locks for the tickets begin at firstTicket.
	firstTicket, tickets = 1 << 40, 1 << 40
)

// isFull reports whether err means that a server, or a pooler, has no connection left.
func isFull(err error) bool {
	return anyIs(err, func(err error) bool {
		var refused *pgconn.PgError
		return errors.As(err, &refused) && saysFull(refused)
	})
}

// isCrowded reports whether an attempt to connect may have failed because there are many others: the server has no
// connection left, or was too busy to accept or answer it in time.
func isCrowded(err error) bool {
	return anyIs(err, func(err error) bool {
		return isFull(err) || os.IsTimeout(err) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, syscall.EAGAIN)
	})
}

// saysFull is for answers to an attempt to connect. PgBouncer has no code of its own for too many clients.
func saysFull(refused *pgconn.PgError) bool {
	return refused.Code == "53300" || refused.Code == "08P01"
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
	if !l.open() {
		return false
	}
	head, err := keep.Held(l.file, firstTicket, tickets)
	return head > 0 && err == nil
}

// open opens the file, if that was not done yet or the file was removed since: those who come now wait in another one.
func (l *line) open() bool {
	if l.file != nil && !inPlace(l.file) {
		_ = l.file.Close()
		l.file = nil
	}
	if l.file == nil {
		l.file, _ = openSide(l.name)
	}
	return l.file != nil
}

func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
	}
}

// A spot is a place in a line.
type spot struct {
	file   *os.File
	ticket int64
	// head is the lowest ticket, as last seen, 0 once that is this one.
	head int64
}

// enter takes a place at the end of the line. Where there is no line, it returns nil.
func (l *line) enter() *spot {
	f, err := openSide(l.name)
	if err != nil {
		return nil
	}
	p := &spot{file: f, head: -1}
	if p.ticket, err = takeTicket(f); err != nil {
		_ = f.Close()
		return nil
	}
	return p
}

func takeTicket(f *os.File) (int64, error) {
	for tries := 0; ; tries++ {
		got, err := keep.Lock(f, 0)
		switch {
		case err != nil:
			return 0, err
		case tries == 500: // others have it only for a moment, unless they are stopped
			return 0, os.ErrDeadlineExceeded
		}
		if got {
			break
		}
		time.Sleep(time.Millisecond)
	}
	defer func() { _ = keep.Unlock(f, 0) }()
	var count [8]byte
	if _, err := f.ReadAt(count[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	ticket := int64(binary.LittleEndian.Uint64(count[:])%(tickets-1)) + 1
	binary.LittleEndian.PutUint64(count[:], uint64(ticket))
	if _, err := f.WriteAt(count[:], 0); err != nil {
		return 0, err
	}
	_, err := keep.Lock(f, firstTicket+ticket)
	return ticket, err
}

// leave leaves the line.
func (p *spot) leave() {
	if p != nil {
		_ = p.file.Close()
	}
}

// await waits until this place is at the head of the line, or it seems that the process there is stopped. It calls moved
// whenever the line has moved.
func (p *spot) await(ctx context.Context, moved func()) {
	still := func() <-chan time.Time { return time.After(p.patience()) }
	for end := still(); ; {
		head, err := keep.Held(p.file, firstTicket, p.ticket)
		if err != nil || head == 0 {
			p.head = 0
			return
		}
		if head != p.head {
			p.head, end = head, still()
			moved()
		}
		select {
		case <-time.After(p.pause()):
		case <-end:
			return
		case <-ctx.Done():
			return
		}
	}
}

// patience is how long this place waits for the line to move.
func (p *spot) patience() time.Duration {
	return around(outOfLine * (spread + p.behind()) / spread)
}

// pause is how long this place waits before it looks again.
func (p *spot) pause() time.Duration { return around(nextLook + perPlace*p.behind()) }

// behind is how many tickets there are between this place and the head of the line.
func (p *spot) behind() time.Duration {
	if p.head <= 0 {
		return 0
	}
	return time.Duration((p.ticket - p.head + tickets) % tickets)
}

// around returns a random duration that is d on average, between half of it and one and a half.
func around(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// connectInTurn is target.connect, but while the server has no connection left, or is too busy to answer, it waits in
// line and tries again, for as long as ctx allows. It calls failed with the error of each try that is followed by another
// one, and moved when the line has moved.
func (l *link) connectInTurn(ctx context.Context, g *guard, failed func(error), moved func()) (connected, error) {
	var p *spot
	defer func() { p.leave() }()
	if l.at.line.exists() {
		p = l.at.line.enter()
	}
	for pauses := backoff.New(firstTry, lastTry); ; {
		if p != nil && p.head != 0 {
			p.await(ctx, moved)
		}
		c, err := l.at.connect(ctx, g, l)
		if !isCrowded(err) {
			return c, err
		}
		failed(err)
		if p == nil {
			p = l.at.line.enter()
		}
		pause := pauses.Next()
		select {
		case <-time.After(around(pause)):
		case <-ctx.Done():
			return c, err
		}
	}
}
