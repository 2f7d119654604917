package peer

import (
	"sync/atomic"

	"github.com/kettubot/kapi/internal/rules"
)

// A batch is what goes into one transaction.
type batch struct {
	changes []*submission
	// more is where others wait that may come along; nil is nowhere.
	more <-chan *submission
}

// fill takes in what is waiting, save for the changes that were withdrawn meanwhile.
func (b *batch) fill() {
	for len(b.changes) < maxBatch && len(b.more) > 0 {
		b.take(<-b.more)
	}
}

// begin puts changes before the others.
func (b *batch) begin(first []*submission) {
	if len(first) > 0 {
		b.changes = append(first, b.changes...)
	}
}

func (b *batch) take(c *submission) {
	if c.taken.CompareAndSwap(false, true) {
		b.changes = append(b.changes, c)
	}
}

// maxBatch is how many changes go into one transaction at most. Larger ones no longer
// spread an fsync thinner, but keep everybody else from the write lock for longer.
const maxBatch = 256

// A submission is one caller's change on its way through the committer, and what became of it.
type submission struct {
	rules.Change
	// The outcome, once done is closed.
	rules.Outcome
	// then, if it is not nil, is called with the outcome.
	then func()

	taken atomic.Bool // by the committer, or by a caller that withdraws
	left  bool        // the caller no longer waits; guarded by the flight
	done  chan struct{}
}

func submissionOf(c rules.Change) *submission { return &submission{Change: c} }

// answer tells the caller of the outcome; err is that of the whole transaction.
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
