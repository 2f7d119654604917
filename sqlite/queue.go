package sqlite

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi/internal/backoff"
	"github.com/kettubot/kapi/internal/store"
)

// A process can't wait for SQLite's write lock, only try to take it, and with many processes trying, some
// never succeed. So a process first waits for its turn, on a lock for which the kernel keeps a queue. The turn is
// only advisory: SQLite's lock decides who may write, and a process that can't wait for a turn tries to
// take it without one.
//
// Waiting has to cost next to nothing. There may be a thousand who wait, and what they use is lost to the one that
// has the turn: the more slowly it moves on, the more there are. So they look seldom, and one that has the turn for
// long, because the machine has too much to do or because it is stopped, is overtaken by the next in line only.

const (
	// standstill is how long one holder may keep the turn before the next in line stops waiting for it: the holder
	// may be stopped (SIGSTOP, a debugger, a frozen container) without having SQLite's lock.
	standstill = time.Second
	// blocked is how long the next in line may then keep its place before all others stop waiting, too.
	blocked = 3 * standstill
	// lookEvery is how often the next in line checks whether the turn has changed hands. Those behind it check less
	// and less often, at last after lookSeldom.
	lookEvery, lookSeldom = standstill / 2, 15 * standstill
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
	next    chan struct{} // closed when the goroutine has been at the door

	file   *os.File
	index  openIndex
	last   [markLength]byte // the mark of the last commit that was seen
	writer int              // the process that was last seen to have SQLite's lock
	holder sighting         // who has the turn or, if it is free, is at the door
	door   sighting         // who is at the door
	moves  uint64           // how often another holder was seen
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
	turn, next := q.join()
	if turn == nil {
		return 0, nil
	}
	pauses := backoff.New(lookEvery, lookSeldom)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for before := q.look().moves; ; {
		seen := q.look()
		if seen.moves != before {
			before = seen.moves
			store.Moved(ctx)
		}
		q.noteCommits(ctx)
		if seen.overtake {
			return seen.moves, nil
		}
		pause := lookEvery
		if next != nil {
			pause = pauses.Next()
		}
		timer.Reset(inTimeFor(ctx, pause))
		select {
		case <-turn:
			return 0, nil
		case <-next:
			next = nil
		case <-ctx.Done():
			return 0, sqlite.ResultBusy.ToError()
		case <-timer.C:
		}
	}
}

// join takes the turn, or starts a goroutine that waits for it, or joins the one that waits already. It returns a
// channel that is closed when that goroutine ends, nil if there is nothing to wait for, and one that is closed when it
// is the next in line.
func (q *queue) join() (turn, next <-chan struct{}) {
	if q == nil {
		return nil, nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wanted = true
	if q.held { // the goroutine got it after movesOn had looked
		return nil, nil
	}
	if q.waiting == nil {
		err := q.take()
		if q.held = err == nil; !errors.Is(err, errTaken) {
			return nil, nil
		}
		q.waiting, q.next = make(chan struct{}), make(chan struct{})
		go q.await()
	}
	return q.waiting, q.next
}

func (q *queue) await() {
	err := q.stand(func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		close(q.next)
		if !q.wanted {
			q.step()
		}
	})
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

// leave frees the turn, if this process has it, or lets others to the door if it is waiting there.
func (q *queue) leave() {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wanted = false
	switch {
	case q.held:
		q.held = false
		q.free()
	case q.isNext():
		q.step()
	}
}

// isNext reports whether the goroutine has been at the door.
func (q *queue) isNext() bool {
	if q.waiting == nil {
		return false
	}
	select {
	case <-q.next:
		return true
	default:
		return false
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
	if q.lookLocked().moves == before {
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
		if q.look().stands {
			q.leave() // others may go to the door
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
