package peer

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A Watch tells of changes from a snapshot on, or from a seq. Of each action that
// changed it gives the newest state, in ascending order of seq, so a slow watcher stalls
// nobody and needs no memory of its own.
//
// Next and NextDispatch may be called by one goroutine at a time, Close by any.
type Watch struct {
	// Snapshot has the ongoing actions at the start of the watch, oldest first; nil after
	// Resume.
	Snapshot []kapi.Action
	// Epoch and Seq are the head at the start of the watch.
	Epoch string
	Seq   uint64

	view *view
	// replay are the changes that Resume missed, to be told first.
	replay []*entry
	// at is the seq up to which the journal was read, and nth which of its entries that was.
	at  atomic.Uint64
	nth uint64

	// Guarded by view.mu: what is left to tell once the watch has ended, and why it has.
	rest  []*entry
	err   error
	ended chan struct{}
}

// Watch begins to watch all actions. Its snapshot is not older than the call. The
// caller must Close the watch.
func (p *Peer) Watch(ctx context.Context) (*Watch, error) {
	if err := p.upToDate(ctx); err != nil {
		return nil, err
	}
	w := newWatch(p.view)
	v := p.view
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range v.sorted() {
		w.Snapshot = append(w.Snapshot, e.Shown())
	}
	return w, w.begin(p.ctx)
}

// Resume begins to watch with all that has changed since seq, of which it gives the
// newest state of each action. The error is ErrGap if that can't be told any more: the
// history is another one, or goes on from where endings were forgotten; then take a new
// Watch. It is ErrAhead if the history has not come to seq. The caller must Close the
// watch.
func (p *Peer) Resume(ctx context.Context, epoch string, seq uint64) (*Watch, error) {
	if err := p.upToDate(ctx); err != nil {
		return nil, err
	}
	w := newWatch(p.view)
	v := p.view
	v.mu.Lock()
	switch {
	case epoch != v.head.Epoch, seq < v.head.Purged:
		v.mu.Unlock()
		return nil, kapi.ErrGap
	case seq > v.head.Seq:
		v.mu.Unlock()
		return nil, kapi.ErrAhead
	}
	err := w.begin(p.ctx)
	v.mu.Unlock()
	if err != nil {
		return nil, err
	}
	// Only now, when nothing that comes later can be missed.
	if err := w.readSince(ctx, p.store, seq); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

func (w *Watch) readSince(ctx context.Context, s store.Store, seq uint64) error {
	if seq == w.Seq {
		return nil
	}
	page, err := s.Feed(ctx, seq)
	switch {
	case errors.Is(err, store.ErrBehind):
		return kapi.ErrGap
	case err != nil:
		return err
	case page.Epoch != w.Epoch:
		return kapi.ErrGap
	}
	for i := range page.Records {
		if r := &page.Records[i]; r.Seq <= w.Seq { // the others come by the journal
			w.replay = append(w.replay, &entry{Record: *r})
		}
	}
	return nil
}

func newWatch(v *view) *Watch { return &Watch{view: v, ended: make(chan struct{})} }

// begin lets the watch begin at the view's head, unless the peer's context has ended; the view is
// locked.
func (w *Watch) begin(ctx context.Context) error {
	if ctx.Err() != nil {
		return kapi.ErrClosed
	}
	w.Epoch, w.Seq = w.view.head.Epoch, w.view.head.Seq
	w.at.Store(w.Seq)
	w.nth = w.view.journalled
	w.view.watches[w] = struct{}{}
	return nil
}

// Next waits for the next change and returns the action after it; an ending (status 4
// or 5) is the last that is heard of an action. It fails when ctx ends, with ErrGap when
// changes were missed for good, and with ErrClosed after Close or the peer's Close.
func (w *Watch) Next(ctx context.Context) (kapi.Action, error) {
	e, err := w.next(ctx)
	if err != nil {
		return kapi.Action{}, err
	}
	w.pass(e)
	return e.Shown(), nil
}

// pass returns how many entries of the journal were replaced between the last one and e.
func (w *Watch) pass(e *entry) (skipped uint64) {
	if e.nth == 0 {
		return 0
	}
	skipped = e.nth - w.nth - 1
	w.nth = e.nth
	return skipped
}

// Replaying reports whether the next change is one that Resume missed.
func (w *Watch) Replaying() bool { return len(w.replay) > 0 }

// A Dispatch is a change as kAPI's gateway tells it.
type Dispatch struct {
	Seq uint64
	// JSON is the whole message. It is the same for all who are told: don't change it.
	JSON []byte
	// Skipped is how many changes there were between the last one that the watch was given
	// and this one: newer ones of their actions had replaced them before it came to them. It
	// is 0 for whoever keeps up, and for what Resume missed.
	Skipped uint64
}

// NextDispatch is Next in the wire form of the gateway.
func (w *Watch) NextDispatch(ctx context.Context) (Dispatch, error) {
	e, err := w.next(ctx)
	if err != nil {
		return Dispatch{}, err
	}
	return Dispatch{e.Seq, e.dispatch(), w.pass(e)}, nil
}

func (w *Watch) next(ctx context.Context) (*entry, error) {
	if len(w.replay) > 0 {
		e := w.replay[0]
		w.replay = behind(w.replay)
		return e, nil
	}
	for {
		e, changed, err := w.look()
		if e != nil || err != nil {
			return e, err
		}
		select {
		case <-changed:
		case <-w.ended:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// behind drops the first entry, and what kept it in memory.
func behind(entries []*entry) []*entry {
	entries[0] = nil
	if len(entries) == 1 {
		return nil
	}
	return entries[1:]
}

// look returns what is next, or a channel that is closed when it is worth another look.
func (w *Watch) look() (*entry, <-chan struct{}, error) {
	v := w.view
	v.mu.RLock()
	defer v.mu.RUnlock()
	if w.err != nil {
		if len(w.rest) == 0 {
			return nil, nil, w.err
		}
		e := w.rest[0]
		w.rest = behind(w.rest)
		return e, nil, nil
	}
	e := v.journal.after(w.at.Load())
	if e != nil {
		w.at.Store(e.Seq)
	}
	return e, v.changed, nil
}

// Close ends the watch; a waiting Next returns ErrClosed.
func (w *Watch) Close() {
	w.view.mu.Lock()
	defer w.view.mu.Unlock()
	w.view.cut(w, kapi.ErrClosed)
}
