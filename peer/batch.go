package peer

import (
	"sync/atomic"
	"time"

	"github.com/kettubot/kapi/internal/rules"
)

// A batch is the changes that go into one transaction.
type batch struct {
	changes []*submission
	size    int // of what they save, in bytes
	// more has changes that may join the batch; nil is none.
	more <-chan *submission
	// took is how long the transaction took, and waited for how much of that it waited for the store's lock.
	waited, took time.Duration
}

// fill adds the waiting changes, except those that were withdrawn meanwhile.
func (b *batch) fill() {
	for len(b.changes) < maxBatch && b.size < maxBatchSize && len(b.more) > 0 {
		b.take(<-b.more)
	}
}

// begin puts changes in front of the others.
func (b *batch) begin(first []*submission) {
	if len(first) > 0 {
		b.changes = append(first, b.changes...)
	}
}

func (b *batch) take(c *submission) {
	if c.taken.CompareAndSwap(false, true) {
		b.changes = append(b.changes, c)
		for i := range c.Saved {
			b.size += len(c.Saved[i].Data)
		}
	}
}

// maxBatch is the largest number of changes in one transaction. With larger ones, the cost of an fsync
// per change hardly falls any more, but the write lock is held for longer.
const maxBatch = 256

// maxBatchSize is the size of checkpoints, in bytes, from which on no more changes join a transaction. Other peers would
// have to wait for too long for their turn.
const maxBatchSize = 4 << 20

// A submission is one caller's change on its way through the committer, with its outcome.
type submission struct {
	rules.Change
	// Outcome is valid once done is closed.
	rules.Outcome
	waited, took time.Duration // of the batch; valid once done is closed
	// then, if it is not nil, is called with the outcome.
	then func()

	taken atomic.Bool // by the committer, or by the caller to withdraw it
	left  bool        // the caller no longer waits; guarded by the flight
	done  chan struct{}
}

func submissionOf(c rules.Change) *submission { return &submission{Change: c} }

// answer delivers the outcome to the caller; err is that of the whole transaction.
func (c *submission) answer(err error) {
	if err != nil {
		c.Err = err
	}
	if c.then != nil {
		c.then()
	}
	close(c.done)
}

// answerLast answers a change that has no answer yet.
func (c *submission) answerLast(err error) {
	select {
	case <-c.done:
	default:
		c.answer(err)
	}
}
