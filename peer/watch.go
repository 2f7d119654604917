package peer

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A Watch delivers the changes since a snapshot, or since a seq. For each action that
// changed it delivers the newest state, in ascending order of seq, so a slow reader stalls
// nobody and needs no memory of its own.
//
// Next and NextDispatch may be called by one goroutine at a time, Close by any.
type Watch struct {
	// Snapshot has the ongoing actions at the start of the watch, oldest first. It is nil
	// after Resume.
	Snapshot []kapi.Action
	// Epoch and Seq are the head at the start of the watch.
	Epoch string
	Seq   uint64

	view *view
	// replay has the changes from before the call of Resume. They are delivered first.
	replay []*entry
	// at is the seq up to which the journal was read, and nth the number of that entry.
	at  atomic.Uint64
	nth uint64

	// Guarded by view.mu: once the watch has ended, the entries still to deliver, and why it ended.
	rest  []*entry
	err   error
	ended chan struct{}
}

// Watch begins to watch all actions. Its snapshot is as of the call or later. The caller
// must Close the watch. The errors are those of Follow.
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

// Resume begins to watch all actions, first with the newest state of each action that
// changed since seq. The error is ErrGap if that is no longer known, because the history
// is another one or endings after seq were purged; then take a new Watch. It is ErrAhead
// if seq is above the store's head. Other errors are those of Watch. The caller must Close
// the watch.
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
	// The feed is read only now, because from now on the watch can't miss later changes.
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
		if r := &page.Records[i]; r.Seq <= w.Seq { // the others come from the journal
			w.replay = append(w.replay, &entry{Record: *r})
		}
	}
	return nil
}

func newWatch(v *view) *Watch { return &Watch{view: v, ended: make(chan struct{})} }

// begin begins the watch at the view's head. It returns ErrClosed if ctx, the peer's context, has ended.
// The view must be locked.
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

// Next waits for the next change and returns the action after it. An ending (status 4 or
// 5) is the last change of an action. The error is the cause of the end of ctx, ErrGap if
// changes were missed, or ErrClosed after Close or the peer's Close.
func (w *Watch) Next(ctx context.Context) (kapi.Action, error) {
	e, err := w.next(ctx)
	if err != nil {
		return kapi.Action{}, err
	}
	w.pass(e)
	return e.Shown(), nil
}

// pass notes that e was delivered. It returns how many entries the journal got between the one that was
// delivered before e, and e. They were not delivered, because newer ones had replaced them.
func (w *Watch) pass(e *entry) (skipped uint64) {
	if e.nth == 0 {
		return 0
	}
	skipped = e.nth - w.nth - 1
	w.nth = e.nth
	return skipped
}

// Replaying reports whether the next change is one that was made before the call of Resume.
func (w *Watch) Replaying() bool { return len(w.replay) > 0 }

// A Dispatch is a change as kAPI's gateway sends it.
type Dispatch struct {
	Seq uint64
	// JSON is the whole message. It is shared: don't change it.
	JSON []byte
	// Skipped is the number of changes between the previous Dispatch and this one that the watch
	// never read, because newer changes of the same actions had replaced them. It is 0 for a
	// reader that keeps up, and for changes from before the call of Resume.
	Skipped uint64
}

// NextDispatch is like Next, but returns the change in the gateway's wire form.
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

// behind returns the entries after the first. It releases the memory of the first, and of the slice
// when it is empty.
func behind(entries []*entry) []*entry {
	entries[0] = nil
	if len(entries) == 1 {
		return nil
	}
	return entries[1:]
}

// look returns the next entry, or a channel that is closed when there may be one.
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

// Close ends the watch. A waiting Next returns ErrClosed.
func (w *Watch) Close() {
	w.view.mu.Lock()
	defer w.view.mu.Unlock()
	w.view.cut(w, kapi.ErrClosed)
}
