package kapi

import (
	"container/list"
	"context"
	"sync"
)

// A Watch tells of changes from a snapshot on. At most one update per action waits in
// it, the newest, so a slow watcher stalls nobody and needs bounded memory; what it is
// given is always in ascending order of seq.
//
// Next may be called by one goroutine at a time, Close by any.
type Watch struct {
	// Snapshot has the ongoing actions at the start of the watch, oldest first.
	Snapshot []Action
	// Epoch and Seq are the head that Snapshot belongs to.
	Epoch string
	Seq   uint64

	view *view

	mu      sync.Mutex
	waiting list.List // of Action, ascending seq
	byID    map[string]*list.Element
	err     error
	ready   chan struct{} // has room for one token: something is waiting, or err is set
}

// Watch begins to watch all actions. Its snapshot is not older than the call. The
// caller must Close the watch.
func (p *Peer) Watch(ctx context.Context) (*Watch, error) {
	if err := p.sync(ctx); err != nil {
		return nil, err
	}
	w := &Watch{view: p.view, byID: map[string]*list.Element{}, ready: make(chan struct{}, 1)}
	v := p.view
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range v.sorted() {
		w.Snapshot = append(w.Snapshot, e.Shown())
	}
	w.Epoch, w.Seq = v.head.Epoch, v.head.Seq
	if p.ctx.Err() != nil {
		return nil, ErrClosed
	}
	v.watches[w] = struct{}{}
	return w, nil
}

// Next waits for the next change and returns the action after it; an ending (status 4
// or 5) is the last that is heard of an action. It fails when ctx ends, with ErrGap when
// changes were missed for good, and with ErrClosed after Close or the peer's Close.
func (w *Watch) Next(ctx context.Context) (Action, error) {
	for {
		if a, ok, err := w.pop(); ok || err != nil {
			return a, err
		}
		select {
		case <-w.ready:
		case <-ctx.Done():
			return Action{}, context.Cause(ctx)
		}
	}
}

// Close ends the watch; a waiting Next returns ErrClosed.
func (w *Watch) Close() {
	w.view.mu.Lock()
	delete(w.view.watches, w)
	w.view.mu.Unlock()
	w.cut(ErrClosed)
}

func (w *Watch) pop() (a Action, ok bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	front := w.waiting.Front()
	if front == nil {
		return Action{}, false, w.err
	}
	a = w.waiting.Remove(front).(Action)
	delete(w.byID, a.ID)
	return a, true, nil
}

func (w *Watch) push(a Action) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	if older := w.byID[a.ID]; older != nil {
		w.waiting.Remove(older)
	}
	w.byID[a.ID] = w.waiting.PushBack(a)
	w.signal()
}

// cut ends the watch with err, after what is waiting already.
func (w *Watch) cut(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.signal()
}

func (w *Watch) signal() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}
