package sqlite

import (
	"context"
	"time"

	"github.com/kettubot/kapi/internal/store"
)

// What a process that waits for its turn sees of the others.

// A sighting is who was last seen to hold a lock, a random number or 0 for nobody, and when it was first seen.
type sighting struct {
	who   int64
	since time.Time
}

// note notes who holds the lock now, and reports whether that has changed.
func (s *sighting) note(who int64, now time.Time) bool {
	changed := who != s.who
	if changed || who == 0 {
		*s = sighting{who, now}
	}
	return changed
}

// An openIndex is the log's index, which SQLite has open: its path, and SQLite's descriptor of it, if that is known.
type openIndex struct {
	path string
	fd   int
}

// A queueLook is what a process that waits has seen of the queue.
type queueLook struct {
	moves    uint64 // how often the turn was seen to change hands
	stands   bool   // that hasn't happened for long
	overtake bool   // this process should no longer wait for the turn
}

func (q *queue) look() queueLook {
	if q == nil {
		return queueLook{}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lookLocked()
}

func (q *queue) lookLocked() queueLook {
	now := time.Now()
	turn, door, err := q.who()
	if err != nil {
		return queueLook{q.moves, true, true} // the holder is unknown
	}
	holder := turn
	if turn == 0 {
		holder = -door
	}
	if q.holder.note(holder, now) {
		q.moves++
	}
	q.door.note(door, now)
	stands := now.Sub(q.holder.since) >= standstill
	return queueLook{q.moves, stands, stands && (q.isNext() || now.Sub(q.door.since) >= blocked)}
}

// inTimeFor shortens a pause so that several fit into the time until ctx ends: a context of store.WithPatience ends if it
// isn't told in time that others have moved.
func inTimeFor(ctx context.Context, pause time.Duration) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		pause = min(pause, max(time.Until(end)/3, lookEvery/10))
	}
	return pause
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
