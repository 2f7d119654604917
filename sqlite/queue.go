package sqlite

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi/internal/store"
)

// A process can't wait for SQLite's write lock, only try to take it, and with many processes trying, some
// never succeed. So a process first waits for its turn, on a lock for which the kernel keeps a queue. The turn is
// only advisory: SQLite's lock decides who may write, and a process that can't wait for a turn tries to
// take it without one.

const (
	// standstill is how long one holder may keep the turn before the others stop waiting for it: the holder
	// may be stopped (SIGSTOP, a debugger, a frozen container) without having SQLite's lock.
	standstill = time.Second
	// lookEvery is how often a waiting process checks whether the turn has changed hands.
	lookEvery = standstill / 2
	// partTime is how long closing a store waits for its goroutine to leave the queue.
	partTime = time.Second
)

// errTaken is returned when another process or store has the turn, or waits for it at the door.
var errTaken = errors.New("it is somebody else's turn")

// errMoves is returned when the turn changed hands while this process tried to take SQLite's lock without
// having the turn.
var errMoves = errors.New("the turn has changed hands")

// A queue is a store's place among the processes that want to write, through one descriptor of the wake
// file. A nil queue never waits.
//
// There are two locks: the turn, and the door, where the next holder of the turn waits. If all waited for
// the turn itself, a process that has just freed it and wants it again would take it before the kernel has
// woken anybody.
//
// A context can't interrupt a wait for a lock in the kernel. So a goroutine waits, and continues to wait
// when its caller has given up. The next caller that wants the turn joins this goroutine and keeps its
// place. If there is no such caller, the goroutine frees the turn as soon as it gets it.
type queue struct {
	*places

	mu      sync.Mutex
	wanted  bool          // a call is between join and leave
	held    bool          // this process has the turn
	waiting chan struct{} // closed when the goroutine ends; nil while there is none

	file   *os.File
	index  openIndex
	last   [markLength]byte // the mark of the last commit that was seen
	writer int              // the process that was last seen to have SQLite's lock
	holder int64            // the holder at the last look
	since  time.Time        // when that holder was first seen
	moves  uint64           // how often another holder was seen
}

// An openIndex is the log's index, which SQLite has open: its path, and SQLite's descriptor of it, if that is known.
type openIndex struct {
	path string
	fd   int
}

func newQueue(f *os.File, store string) *queue {
	if p := openPlaces(f); p != nil {
		return &queue{places: p, file: f, index: openIndex{path: store + "-shm"}}
	}
	return nil
}

// begin waits for this process's turn and for SQLite's lock, as long as ctx allows, and begins a write
// transaction. The caller must call leave afterwards, even if begin fails.
func (q *queue) begin(ctx context.Context, c *sqlite.Conn) error {
	for {
		moves, err := q.enter(ctx)
		if err == nil {
			err = retryUntil(ctx, q.left(), func() error {
				err := step(c, "BEGIN IMMEDIATE")
				if err != nil {
					q.noteCommits(ctx)
					q.noteWriter(ctx)
				}
				if err != nil && q.movesOn(ctx, moves) {
					return errMoves
				}
				return err
			})
		}
		if !errors.Is(err, errMoves) {
			return err
		}
	}
}

// enter returns when this process has the turn, or should stop waiting for it. In the latter case moves is
// how often the turn was seen to change hands.
func (q *queue) enter(ctx context.Context) (moves uint64, err error) {
	turn := q.join()
	if turn == nil {
		return 0, nil
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for before, _ := q.look(); ; {
		moves, stands := q.look()
		if moves != before {
			before = moves
			store.Moved(ctx)
		}
		q.noteCommits(ctx)
		if stands {
			return moves, nil
		}
		select {
		case <-turn:
			return 0, nil
		case <-ctx.Done():
			return 0, sqlite.ResultBusy.ToError()
		case <-tick.C:
		}
	}
}

// join takes the turn, or starts a goroutine that waits for it, or joins the one that waits already. It
// returns a channel that is closed when that goroutine ends, nil if there is nothing to wait for.
func (q *queue) join() <-chan struct{} {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wanted = true
	if q.held { // the goroutine got it after movesOn had looked
		return nil
	}
	if q.waiting == nil {
		err := q.take()
		if q.held = err == nil; !errors.Is(err, errTaken) {
			return nil
		}
		q.waiting = make(chan struct{})
		go q.await()
	}
	return q.waiting
}

func (q *queue) await() {
	err := q.stand()
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case err != nil: // the caller tries to take SQLite's lock all the same
	case q.wanted:
		q.held = true
	default:
		q.free()
	}
	close(q.waiting)
	q.waiting = nil
}

// leave frees the turn, if this process has it.
func (q *queue) leave() {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wanted = false
	if q.held {
		q.held = false
		q.free()
	}
}

// look returns how often the turn was seen to change hands. stands is true if that hasn't happened for so
// long that nobody should wait for the turn.
func (q *queue) look() (moves uint64, stands bool) {
	if q == nil {
		return 0, false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lookLocked()
}

func (q *queue) lookLocked() (moves uint64, stands bool) {
	now := time.Now()
	holder, err := q.who()
	switch {
	case err != nil:
		return q.moves, true // the holder is unknown
	case holder != q.holder:
		q.holder, q.since = holder, now
		q.moves++
	case holder == 0:
		q.since = now
	}
	return q.moves, now.Sub(q.since) >= standstill
}

// noteCommits calls store.Moved if others have committed something since it was last called. They may have done so
// without a turn.
func (q *queue) noteCommits(ctx context.Context) {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	var now [markLength]byte
	if _, err := q.file.ReadAt(now[:], 0); err == nil && now != q.last {
		q.last = now
		store.Moved(ctx)
	}
}

// noteWriter calls store.Moved if SQLite's lock has changed hands since it was last called.
func (q *queue) noteWriter(ctx context.Context) {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if pid := q.index.writer(); pid != q.writer {
		q.writer = pid
		store.Moved(ctx)
	}
}

// movesOn reports whether the turn has changed hands since an earlier call of look, whose count of moves was
// before. It is false if this process has the turn.
func (q *queue) movesOn(ctx context.Context, before uint64) bool {
	if q == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting == nil {
		return false // this process has the turn, or can't get one
	}
	if moves, _ := q.lookLocked(); moves == before {
		return false
	}
	store.Moved(ctx)
	return true
}

// left returns a channel that is closed when the waiting goroutine ends, nil if there is none.
func (q *queue) left() <-chan struct{} {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting
}

// clear waits until this process neither has the turn nor waits for it, or until the turn no longer changes
// hands. Nobody may call join meanwhile.
func (q *queue) clear() {
	left := q.left()
	if left == nil {
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if _, stands := q.look(); stands {
			return
		}
		select {
		case <-left:
			return
		case <-tick.C:
		}
	}
}

// part waits up to partTime for the goroutine, so that closing a store seldom leaves one behind.
func (q *queue) part() {
	if left := q.left(); left != nil {
		select {
		case <-left:
		case <-time.After(partTime):
		}
	}
}
