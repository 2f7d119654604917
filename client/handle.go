package client

import (
	"context"
	"math"
	"sync"

	"github.com/kettubot/kapi"
)

// A handle is the Handle of an operation whose action is on the server.
//
// Every report has the whole current state of the operation. So the next report makes up for one that was
// lost or arrived late.
type handle struct {
	client   *Client
	started  kapi.Remote
	cancel   context.CancelCauseFunc
	wake     chan struct{}  // signals that there is something to report; buffer of one
	link     link           // used by the reporting goroutine only, like the next two
	granted  uint64         // the fence that came with the keys that the action waited for
	waitsFor *kapi.WaitsFor // from the last answer while the action waited

	mu   sync.Mutex
	says saying
	// unreset is the number of the last reset that the server has accepted.
	unreset uint64
	sealed  bool // later calls do nothing
	waiting []waiting
	// While the state is the reason that Impacted gave, before is the state that it replaced.
	reason, before *string
}

// A saying has everything that a runner reports on its action.
type saying struct {
	version  uint64      // grows with each change
	status   kapi.Status // 0: no move to report
	resets   uint64      // how often the progress was made unknown
	progress *float64
	state    *string
	exitCode *int
}

// A waiting is a caller that waits until a version was sent.
type waiting struct {
	version uint64
	done    chan error
}

func newHandle(c *Client, r kapi.Remote, cancel context.CancelCauseFunc) *handle {
	h := &handle{client: c, started: r, cancel: cancel, wake: make(chan struct{}, 1)}
	h.link.notify = func(err error) { c.reporting(h.ID(), err) }
	return h
}

func (h *handle) ID() string { return h.started.Action.ID }

func (h *handle) Fence() uint64 { return h.started.Fence }

func (h *handle) Action() kapi.Action { return h.started.Action }

func (h *handle) Dismissed() []kapi.Action { return h.started.Dismissed }

func (h *handle) SetProgress(p float64) {
	if math.IsNaN(p) {
		return
	}
	p = min(max(p, 0), 1)
	h.say(func(s *saying) bool {
		if s.progress != nil && *s.progress >= p {
			return false
		}
		s.progress = &p
		return true
	})
}

func (h *handle) ResetProgress() {
	h.say(func(s *saying) bool {
		s.progress = nil
		s.resets++
		return true
	})
}

func (h *handle) SetState(state string) {
	h.say(func(s *saying) bool {
		if s.state != nil && *s.state == state {
			return false
		}
		s.state = &state
		return true
	})
}

// SetExitCode sends nothing: the code goes with the end. A code that the server would refuse is left out,
// because it must not keep the end from being reported.
func (h *handle) SetExitCode(code int) {
	if code < 0 || int64(code) > math.MaxUint32 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.says.exitCode = &code
}

// Impacted returns once a report was tried. If that failed, later reports repeat it.
func (h *handle) Impacted(reason string) error {
	return h.move(func(s *saying) {
		if s.state != h.reason || s.state == nil {
			h.before = s.state
		}
		h.reason = &reason
		s.status, s.state = kapi.StatusImpacted, h.reason
	})
}

func (h *handle) Recovered() error {
	return h.move(func(s *saying) {
		if h.reason != nil && s.state == h.reason {
			if s.state = h.before; s.state == nil {
				s.state = new(string)
			}
		}
		h.reason, h.before = nil, nil
		s.status = kapi.StatusRunning
	})
}

// say changes what is to be reported, and triggers a report if change returns true.
func (h *handle) say(change func(*saying) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.sealed && change(&h.says) {
		h.says.version++
		h.kick()
	}
}

func (h *handle) move(change func(*saying)) error {
	done := make(chan error, 1)
	h.mu.Lock()
	if h.sealed {
		h.mu.Unlock()
		return kapi.ErrUnknown
	}
	change(&h.says)
	h.says.version++
	h.waiting = append(h.waiting, waiting{h.says.version, done})
	h.kick()
	h.mu.Unlock()
	return <-done
}

// kick triggers a report.
func (h *handle) kick() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// collect returns what is to be reported, and whether the progress must be reset first.
func (h *handle) collect() (s saying, reset bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.says, h.says.resets != h.unreset
}

// sent notes the result of a report.
func (h *handle) sent(s saying, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.unreset = s.resets
	}
	h.waiting = answer(h.waiting, s.version, err)
}

// close ends reporting: later calls of the Handle do nothing.
func (h *handle) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sealed = true
	h.waiting = answer(h.waiting, h.says.version, kapi.ErrUnknown)
}

// matters reports whether an update of the action should trigger a report at once, since the answer has news
// for the operation.
func (h *handle) matters(a kapi.Action) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	overlaid := a.Status == kapi.StatusImpacted && h.says.status != kapi.StatusImpacted
	granted := a.Status == kapi.StatusPending && len(a.Keys) > 0
	return granted || a.CancelRequestedAt != 0 || !a.Status.Active() || overlaid
}

// answer sends err to the callers that wait for a version up to this one, and returns the others.
func answer(all []waiting, version uint64, err error) (left []waiting) {
	for _, w := range all {
		if w.version <= version {
			w.done <- err
		} else {
			left = append(left, w)
		}
	}
	return left
}
