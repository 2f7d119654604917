package peer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
)

// flushEvery is the shortest pause between two publications of progress and state.
const flushEvery = 100 * time.Millisecond

// A flusher publishes the progress and state that operations report: everything that changed, in one
// batch, at most once per flushEvery.
type flusher struct {
	ctx  context.Context // ends with the peer
	wait func(context.Context, *submission) error
	wake chan struct{}

	mu    sync.Mutex
	dirty []*handle
}

func (f *flusher) init(ctx context.Context, wait func(context.Context, *submission) error) {
	f.ctx, f.wait = ctx, wait
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
		f.publish()
		pause.Reset(flushEvery)
		select {
		case <-pause.C:
		case <-f.ctx.Done():
			return
		}
	}
}

func (f *flusher) publish() {
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
	}
}
