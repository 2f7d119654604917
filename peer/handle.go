package peer

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
)

// A handle implements kapi.Handle for an operation that this process runs.
type handle struct {
	ctx       context.Context // of the peer
	commits   *committer
	flush     func(*handle) // schedules the publication of new reports
	id        string
	cancel    context.CancelCauseFunc
	ended     chan struct{} // closed when the end was reported
	action    kapi.Action
	dismissed []kapi.Action
	fence     uint64
	granted   chan struct{} // gets a value when the action has the keys that it waited for; holds one
	// defined is nil unless the operation is a defined one.
	defined *defined
	// starting is when the start was begun; nil once it is committed.
	starting atomic.Pointer[time.Time]
	// claiming is set from before a claim until the view has it. Until then another runner may have the action. claimed
	// is the seq of the claim, 0 until it is known.
	claiming atomic.Bool
	claimed  atomic.Uint64

	// Reports that are not published yet. SetProgress may be called in a hot loop: it costs
	// two atomic loads if nothing is new.
	progress atomic.Uint64 // bits of a float64; unknownProgress if unknown
	resets   atomic.Uint32
	state    atomic.Pointer[string]
	dirty    atomic.Bool

	exitCode atomic.Pointer[int]

	// mu is held from collecting a report until it is handed to the committer, so that reports
	// keep their order.
	mu        sync.Mutex
	sealed    bool // the final report is made
	sentReset uint32
	// From Impacted to Recovered, reason is the state that Impacted has set, and said is the state
	// before that. Otherwise both are nil.
	reason, said *string
	// aside is the state from before a pause, during it.
	aside *string
}

// unknownProgress is below every progress when compared as a float.
var unknownProgress = math.Float64bits(-1)

// newHandle returns the handle of an operation. cancel ends the operation's context.
func (p *Peer) newHandle(id string, cancel context.CancelCauseFunc) *handle {
	h := &handle{ctx: p.ctx, commits: &p.commits, flush: p.flush.add, id: id, cancel: cancel, ended: make(chan struct{}), granted: make(chan struct{}, 1)}
	h.progress.Store(unknownProgress)
	return h
}

func (h *handle) ID() string { return h.id }

func (h *handle) Fence() uint64 { return h.fence }

func (h *handle) Action() kapi.Action { return h.action }

func (h *handle) Dismissed() []kapi.Action { return h.dismissed }

// SetProgress may be called in a hot loop: it stores the value and returns.
func (h *handle) SetProgress(p float64) {
	for {
		now := h.progress.Load()
		if !(p > math.Float64frombits(now)) || now == oneProgress {
			if p > 0 || now != unknownProgress || math.IsNaN(p) {
				return
			}
			p = 0 // clamp: the first report was below 0
		}
		if h.progress.CompareAndSwap(now, math.Float64bits(min(max(p, 0), 1))) {
			h.mark()
			return
		}
	}
}

var oneProgress = math.Float64bits(1)

// startAt makes p the progress that was reported already. It is called before the operation runs.
func (h *handle) startAt(p float64) { h.progress.Store(math.Float64bits(p)) }

func (h *handle) ResetProgress() {
	// In this order: a collect between the two must not take the reset together with the
	// progress from before it.
	h.progress.Store(unknownProgress)
	h.resets.Add(1)
	h.mark()
}

func (h *handle) SetState(state string) {
	if old := h.state.Load(); old != nil && *old == state {
		return
	}
	newest := state // a copy, so that a state that is not stored is not allocated
	h.state.Store(&newest)
	h.mark()
}

// lose stops the operation because its action is lost.
func (h *handle) lose(cause error) {
	if h.defined != nil {
		h.defined.lost.Store(true)
	}
	h.cancel(cause)
}

func (h *handle) SetExitCode(code int) { h.exitCode.Store(&code) }

func (h *handle) Impacted(reason string) error {
	h.mu.Lock()
	if old := h.state.Load(); old != h.reason || old == nil {
		h.said = old
	}
	h.reason = &reason
	h.state.Store(&reason)
	h.mu.Unlock()
	return h.move(kapi.StatusImpacted)
}

func (h *handle) Recovered() error {
	h.calm()
	return h.move(kapi.StatusRunning)
}

// calm makes the state what it was before Impacted, if it is still the reason.
func (h *handle) calm() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reason != nil {
		before := h.said
		if before == nil {
			before = new(string)
		}
		h.state.CompareAndSwap(h.reason, before)
		h.reason, h.said = nil, nil
	}
}

func (h *handle) move(to kapi.Status) error {
	c, err := h.submit(rules.Report{Status: to}, false)
	if err != nil {
		return err
	}
	if err = h.commits.wait(h.ctx, c); errors.Is(err, kapi.ErrUnavailable) {
		h.resend() // for the progress that was in the same report
	}
	return err
}

func (h *handle) mark() {
	if !h.dirty.Load() && h.dirty.CompareAndSwap(false, true) {
		h.flush(h)
	}
}

// collect moves the reports that are not published yet into rep.
func (h *handle) collect(rep *rules.Report) {
	rep.Fence = h.fence
	h.dirty.Store(false)
	if resets := h.resets.Load(); resets != h.sentReset {
		rep.ResetProgress = true
		h.sentReset = resets
	}
	if bits := h.progress.Load(); bits != unknownProgress {
		p := math.Float64frombits(bits)
		rep.Progress = &p
	}
	if rep.State == nil {
		rep.State = h.state.Load()
	}
	if !rep.Status.Active() {
		rep.ExitCode = h.exitCode.Load()
	}
}

// submit hands a report to the committer, with everything that is not published yet. ErrUnknown is
// returned after the final report.
func (h *handle) submit(rep rules.Report, final bool) (*submission, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sealed {
		return nil, kapi.ErrUnknown
	}
	h.sealed = final
	h.collect(&rep)
	c := h.change(rep)
	return c, h.commits.send(h.ctx, c)
}

func (h *handle) change(rep rules.Report) *submission {
	return submissionOf(rules.Change{Kind: rules.KindReport, ID: h.id, Report: rep})
}

// seal forbids further reports. It is false if the final report was made already.
func (h *handle) seal() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.sealed
	h.sealed = true
	return !was
}

// resend makes the content of a report that the store could not take part of the next report.
func (h *handle) resend() {
	h.mu.Lock()
	h.sentReset-- // a reset too many does no harm, because the newest progress is in the same report
	h.mu.Unlock()
	h.mark()
}

// again returns a final report that the store could not take, with what it needs for another attempt.
func (h *handle) again(rep rules.Report) rules.Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	rep.ResetProgress = h.sentReset > 0
	h.collect(&rep)
	return rep
}
