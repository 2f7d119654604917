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

// SQLite's lock can only be tried for, and of many who do so some never get it. So whoever is about to
// try waits for their turn before, in the kernel, which knows an order. That is a custom and no more: who may write
// is SQLite's to say, and whoever can't wait for a turn tries for the lock without.

const (
	// standstill is how long the turn may stay with one holder before the others no longer wait for it: that
	// process may be stopped (SIGSTOP, a debugger, a frozen container) without having SQLite's lock.
	standstill = time.Second
	// lookEvery is how often those who wait look whether it does.
	lookEvery = standstill / 4
	// partTime is how long a store that is closed waits for its last place in the queue.
	partTime = time.Second
)

// errTaken says that somebody else has the turn.
var errTaken = errors.New("it is somebody else's turn")

// errMoves says that the turn went on while the lock was tried for without it.
var errMoves = errors.New("the turn goes on")

// A queue is this process's place among those who want to write, by one descriptor of the wake file. A
// nil one is none.
//
// There are two locks: the turn, and the door, which is for whoever is next. If all waited for the turn alone, whoever
// just had it and wants it again would have it before the kernel has woken anybody.
//
// A lock can't be waited for in the kernel only until a context ends. So a goroutine waits, and stays when nobody
// wants the turn any more. The next who does finds it there, as far on as it has come; and if nobody
// does by then, it gives the turn back as soon as it gets it.
type queue struct {
	*places

	mu      sync.Mutex
	wanted  bool          // somebody waits, or has the lock
	held    bool          // the turn is ours
	waiting chan struct{} // closed when the goroutine ends; nil while there is none

	holder int64 // when it was last looked
	since  time.Time
	moves  uint64 // how often it has changed
}

func newQueue(f *os.File) *queue {
	if p := openPlaces(f); p != nil {
		return &queue{places: p}
	}
	return nil
}

// begin begins a write transaction when it is this process's turn, and waits for that, and for the lock, as long as
// ctx allows. In any case leave is to be called afterwards.
func (q *queue) begin(ctx context.Context, c *sqlite.Conn) error {
	for {
		moves, err := q.enter(ctx)
		if err == nil {
			err = retryBusy(ctx, func() error {
				err := step(c, "BEGIN IMMEDIATE")
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

// enter returns when this process has the turn, or is not to wait for it. In the latter case it tells how often
// the turn was seen to change hands.
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

// join takes the turn, or has a goroutine wait for it, which closes the channel that is returned. That is nil if there
// is nothing to wait for.
func (q *queue) join() <-chan struct{} {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wanted = true
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
	case err != nil: // whoever waits tries for the lock all the same
	case q.wanted:
		q.held = true
	default:
		q.free()
	}
	close(q.waiting)
	q.waiting = nil
}

// leave gives the turn to the next.
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

// look tells how often the turn was seen to change hands, and whether it has not for so long that nobody is to wait
// for it.
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
		return q.moves, true // nothing can be told
	case holder != q.holder:
		q.holder, q.since = holder, now
		q.moves++
	case holder == 0:
		q.since = now
	}
	return q.moves, now.Sub(q.since) >= standstill
}

// movesOn reports whether the turn, for which this process did not go on waiting, has changed hands since.
func (q *queue) movesOn(ctx context.Context, before uint64) bool {
	if q == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting == nil {
		return false // it is ours, or there is none
	}
	if moves, _ := q.lookLocked(); moves == before {
		return false
	}
	store.Moved(ctx)
	return true
}

// left returns what is closed when the goroutine ends that was left waiting, nil if there is none.
func (q *queue) left() <-chan struct{} {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting
}

// clear returns when this process neither waits for the turn nor has it, or nobody gets it any more. Nobody
// may join meanwhile.
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

// part waits a while for the goroutine that was left, so that closing a store seldom leaves one behind.
func (q *queue) part() {
	if left := q.left(); left != nil {
		select {
		case <-left:
		case <-time.After(partTime):
		}
	}
}
