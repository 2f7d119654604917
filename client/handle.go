package client

import (
	"context"
	"math"
	"sync"

	"github.com/kettubot/kapi"
)

// A handle is the Handle of an operation whose action is on the server.
//
// Every report says all that there is to say. So one that was lost, or arrives late, is made
// up for by the next.
type handle struct {
	client   *Client
	started  kapi.Remote
	cancel   context.CancelCauseFunc
	wake     chan struct{}  // something is new; holds one
	link     link           // of the one goroutine that reports
	granted  uint64         // the fence that came with the keys that it waited for; of that goroutine, too
	waitsFor *kapi.WaitsFor // what the last answer said while it waited; of that goroutine, too

	mu   sync.Mutex
	says saying
	// unreset is the number of the last reset that the server has taken.
	unreset uint64
	sealed  bool // nothing more is taken
	waiting []waiting
	// While the state is the reason of Impacted, before is the state that it replaced.
	reason, before *string
}

// A saying is all that a runner says of its action.
type saying struct {
	version  uint64      // grows with each thing that is said
	status   kapi.Status // 0: as it was born
	resets   uint64      // how often the progress was made unknown
	progress *float64
	state    *string
	exitCode *int
}

// A waiting waits until a version was sent.
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

// SetExitCode has nothing sent: it goes with the end. What the server would refuse is left out, as the end
// matters more.
func (h *handle) SetExitCode(code int) {
	if code < 0 || int64(code) > math.MaxUint32 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.says.exitCode = &code
}

// Impacted returns when the server was asked to note it; what it has not noted yet it is asked again.
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

// say changes what is said, and has it sent if it is new.
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

// kick has a report sent soon.
func (h *handle) kick() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// collect returns what is to be sent, and whether a reset goes before it.
func (h *handle) collect() (s saying, reset bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.says, h.says.resets != h.unreset
}

// sent notes what became of a report.
func (h *handle) sent(s saying, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.unreset = s.resets
	}
	h.waiting = answer(h.waiting, s.version, err)
}

// close has nothing more said.
func (h *handle) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sealed = true
	h.waiting = answer(h.waiting, h.says.version, kapi.ErrUnknown)
}

// matters tells an update of the action that the operation should hear of at once.
func (h *handle) matters(a kapi.Action) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	overlaid := a.Status == kapi.StatusImpacted && h.says.status != kapi.StatusImpacted
	granted := a.Status == kapi.StatusPending && len(a.Keys) > 0
	return granted || a.CancelRequestedAt != 0 || !a.Status.Active() || overlaid
}

// answer tells those who wait for a version up to this one, and returns the others.
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
