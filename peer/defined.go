package peer

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A defined is what the run of a defined operation has besides that of any other.
type defined struct {
	handle     *handle
	ctx        context.Context // of the run
	definition *kapi.Definition
	arguments  json.RawMessage
	signs      *signs // of the peer's lease
	log        *slog.Logger
	saved      checkpoints
	pause      pausing

	// claimed is set if the action was taken over or continues another one, so that something may be saved for it.
	claimed bool
	origin  string
	attempt atomic.Int64
	// lost is set once the action is lost, or may be. The context's cause doesn't say so if it was ended before.
	lost atomic.Bool
	// late is set once the operation was stopped because the lease was not renewed in time.
	late atomic.Bool
}

// newDefinedRun registers a handle for an action of a defined operation, and returns the run that will do its work. The
// caller then starts or claims the action, and calls took, or drop if that fails. arguments are as Check has returned
// them. The error is ErrClosed, ErrStaleFence if an earlier run of the action has not returned yet although it has
// lost it, or wraps ErrUnavailable. ctx limits only this call; the run's context has its values.
func (p *Peer) newDefinedRun(ctx context.Context, d *kapi.Definition, arguments json.RawMessage, id string) (*run, error) {
	if d.Resume != nil && p.lease.signs.late() { // otherwise the operation would be stopped at once
		if err := p.renewSoon(ctx); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	h := p.newHandle(id, cancel)
	h.defined = &defined{handle: h, ctx: ctx, definition: d, arguments: arguments, signs: &p.lease.signs, log: p.log}
	patience := p.opts.Lease
	if d.Resume != nil {
		patience = p.lease.signs.limit
	}
	h.defined.saved.init(patience)
	h.defined.pause.changed = make(chan struct{}, 1)
	if err := p.ops.registerOnce(h); err != nil {
		cancel(nil)
		return nil, err
	}
	return &run{peer: p, ctx: ctx, handle: h, defined: h.defined}, nil
}

// took notes the action as this process has started or claimed it. claimed says that something may be saved for it.
func (r *run) took(record *store.Record, claimed bool) {
	h, d := r.handle, r.defined
	h.mu.Lock()
	defer h.mu.Unlock()
	h.action, h.fence = record.Shown(), record.Fence
	if record.Progress != nil {
		h.startAt(*record.Progress)
	}
	d.claimed, d.origin = claimed, record.Defined.Origin
	d.attempt.Store(int64(max(record.Attempt, 1)))
}

// drop drops a run whose action was neither started nor claimed.
func (r *run) drop() {
	r.handle.cancel(nil)
	close(r.handle.ended)
	r.peer.ops.unregister(r.handle)
}

// resumable reports whether another runner may continue the action.
func (d *defined) resumable() bool { return d.definition.Resume != nil }

// notice takes a change of the action while this process is its runner. It is called with the view locked.
func (d *defined) notice(r *store.Record) { d.pause.ask(r.PausedBy != "") }

// epoch returns the history that the peer knows.
func (h *handle) epoch() string { return h.commits.view.at().Epoch }

// lose stops the operation, because another process may run it by now.
func (d *defined) lose() {
	d.handle.lose(kapi.ErrLost)
}

// An operationHandle implements kapi.OperationHandle for one call of a definition's Run. After that its methods do
// nothing and return ErrUnknown, although the next call may use the same handle.
type operationHandle struct {
	*handle
	ctx context.Context // of the call

	over  atomic.Bool
	mu    sync.Mutex // held to set over, and to begin to use the handle
	using sync.WaitGroup
}

// enter begins a use of the handle that end waits for.
func (h *operationHandle) enter() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over.Load() {
		return kapi.ErrUnknown
	}
	h.using.Add(1)
	return nil
}

// end ends the handle, and waits for what was begun with it.
func (h *operationHandle) end() {
	h.mu.Lock()
	h.over.Store(true)
	h.mu.Unlock()
	h.using.Wait()
}

func (h *operationHandle) Origin() string { return h.defined.origin }

func (h *operationHandle) Attempt() int { return int(h.defined.attempt.Load()) }

func (h *operationHandle) SetProgress(p float64) {
	if !h.over.Load() {
		h.handle.SetProgress(p)
	}
}

func (h *operationHandle) ResetProgress() {
	if !h.over.Load() {
		h.handle.ResetProgress()
	}
}

func (h *operationHandle) SetState(state string) {
	if !h.over.Load() {
		h.handle.SetState(state)
	}
}

func (h *operationHandle) SetExitCode(code int) {
	if !h.over.Load() {
		h.handle.SetExitCode(code)
	}
}

func (h *operationHandle) Impacted(reason string) error {
	return h.use(func() error { return h.handle.Impacted(reason) })
}

func (h *operationHandle) Recovered() error { return h.use(h.handle.Recovered) }

func (h *operationHandle) use(f func() error) error {
	if err := h.enter(); err != nil {
		return err
	}
	defer h.using.Done()
	return f()
}
