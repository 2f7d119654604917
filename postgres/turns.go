package postgres

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"time"

	"github.com/kettubot/kapi/internal/store"
)

// Where many wait, none of them may be refused for being one of many. The queues in which they wait (of the database for
// its lock, of a pooler for its connections) can't be watched from outside, but who has had its turn tells the other
// processes of this user on this machine, by a number in a file that they share: for a connection in that of the line,
// for a commit in that of the store.

const (
	// lineTurn and sideTurn are where that number is in the files.
	lineTurn, sideTurn = 8, 16
	// nextTurn is how often a call that waits looks whether another one has had its turn.
	nextTurn = 250 * time.Millisecond
)

// noteTurn changes the number.
func noteTurn(f *os.File, at int64) {
	var number [8]byte
	binary.LittleEndian.PutUint64(number[:], rand.Uint64())
	_, _ = f.WriteAt(number[:], at)
}

// readTurn returns the number, 0 if nobody has written one.
func readTurn(f *os.File, at int64) uint64 {
	var number [8]byte
	_, _ = f.ReadAt(number[:], at) // what is beyond the end of the file is 0
	return binary.LittleEndian.Uint64(number[:])
}

// noteTurn notes that this process has been given a connection.
func (l *line) noteTurn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open() {
		noteTurn(l.file, lineTurn)
	}
}

// turn returns a number that is another one after each process that was given a connection.
func (l *line) turn() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open() {
		return 0
	}
	return readTurn(l.file, lineTurn)
}

// noteTurn notes that this process has committed.
func (d *side) noteTurn() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file != nil || d.open() {
		noteTurn(d.file, sideTurn)
	}
}

// turn returns a number that is another one after each commit of a process.
func (d *side) turn() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil && !d.open() {
		return 0
	}
	return readTurn(d.file, sideTurn)
}

// whileOthersCommit calls store.Moved with ctx as long as others commit, until the returned function is called.
func (s *Store) whileOthersCommit(ctx context.Context) (end func()) {
	if !store.IsPatient(ctx) {
		return func() {}
	}
	ended := make(chan struct{})
	first := time.AfterFunc(nextTurn, func() {
		tick := time.NewTicker(nextTurn)
		defer tick.Stop()
		for seen := s.side.turn(); ; {
			select {
			case <-tick.C:
			case <-ended:
				return
			}
			if now := s.side.turn(); now != seen {
				seen = now
				store.Moved(ctx)
			}
		}
	})
	return func() {
		first.Stop()
		close(ended)
	}
}
