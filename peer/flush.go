package peer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
)

const (
	// flushEvery and flushSeldom are the shortest and the longest pause between two publications of progress
	// and state.
	flushEvery  = 100 * time.Millisecond
	flushSeldom = time.Second
	// flushEarly is how much earlier than due a publication may be, so that reports which come ten times a second
	// are published as they come. Later ones are as much later, so there are no more in the long run.
	flushEarly = flushEvery / 10
	// flushShare is how many times longer than a publication's transaction the pause is.
	flushShare = 10
)

// A flusher publishes the progress and state that operations report: everything that changed, in one
// batch, at most once per flushEvery, and less often while the store is slow or busy.
type flusher struct {
	ctx  context.Context // ends with the peer
	wait func(context.Context, *submission) error
	wake chan struct{}
	pace pace // used by loop only

	mu    sync.Mutex
	dirty []*handle
}

// A pace says when the next publication is due. The pause doubles with each publication whose transaction was
// slow, or had to wait for other peers' transactions, and shrinks slowly with the others. So a single slow one counts
// for less than a second, and many peers together leave the store idle most of the time, however many they are.
type pace struct {
	pause time.Duration
	due   time.Time
}

// next notes a publication that has just ended. took is how long its transaction took, including the
// time that it waited for the store's lock.
func (p *pace) next(now time.Time, waited, took time.Duration) {
	// A transaction usually waits far less than it takes afterwards, which includes the sync.
	crowded := waited > (took-waited)/2
	if crowded || took*flushShare > p.pause {
		p.pause *= 2
	} else {
		p.pause -= p.pause / 10
	}
	p.pause = min(max(p.pause, flushEvery), flushSeldom)
	if early := now.Add(-flushEarly); early.After(p.due) {
		p.due = early
	}
	p.due = p.due.Add(p.pause)
}

func (f *flusher) init(ctx context.Context, wait func(context.Context, *submission) error) {
	f.ctx, f.wait, f.pace.pause = ctx, wait, flushEvery
	f.wake = make(chan struct{}, 1)
}

// add notes that h has something new. A handle calls it once until its reports are collected.
func (f *flusher) add(h *handle) {
	f.mu.Lock()
	f.dirty = append(f.dirty, h)
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *flusher) loop() {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-f.wake:
		case <-f.ctx.Done():
			return
		}
		if left := time.Until(f.pace.due); left > 0 {
			pause.Reset(left)
			select {
			case <-pause.C:
			case <-f.ctx.Done():
				return
			}
		}
		waited, took := f.publish()
		f.pace.next(time.Now(), waited, took)
	}
}

// publish returns how long the first transaction took, and how long it waited for the store's lock.
func (f *flusher) publish() (waited, took time.Duration) {
	f.mu.Lock()
	dirty := f.dirty
	f.dirty = nil
	f.mu.Unlock()
	changes := make([]*submission, len(dirty))
	for i, h := range dirty {
		if c, err := h.submit(rules.Report{}, false); err == nil {
			changes[i] = c
		}
	}
	for i, c := range changes {
		if c == nil {
			continue
		}
		// A refusal can be ignored: an operation that lost its action learns that from the feed.
		if err := f.wait(f.ctx, c); errors.Is(err, kapi.ErrUnavailable) {
			dirty[i].resend()
		}
		if took == 0 {
			waited, took = c.waited, c.took
		}
	}
	return waited, took
}
