package client

import (
	"context"
	"math"
	"sync"

	"github.com/kettubot/kapi"
)

// A Handle is what an operation reports through, like a kapi.Handle. All methods may be called
// concurrently, and after the operation has ended, when they do nothing.
//
// Every report says all that there is to say. So one that was lost, or arrives late, is made
// up for by the next.
type Handle struct {
	client    *Client
	started   kapi.Remote
	dismissed []kapi.Action
	cancel    context.CancelCauseFunc
	wake      chan struct{} // something is new; holds one
	link      link          // of the one goroutine that reports
	granted   uint64        // the fence that came with the keys that it waited for; of that goroutine, too

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
}

// A waiting waits until a version was sent.
type waiting struct {
	version uint64
	done    chan error
}

func newHandle(c *Client, r kapi.Remote, dismissed []kapi.Action, cancel context.CancelCauseFunc) *Handle {
	h := &Handle{client: c, started: r, dismissed: dismissed, cancel: cancel, wake: make(chan struct{}, 1)}
	h.link.tell = func(err error) { c.reporting(h.ID(), err) }
	return h
}

// ID returns the action's id.
func (h *Handle) ID() string { return h.started.Action.ID }

// Fence returns the seq of the change that made this program the holder. It grows from one
// holder of a key to the next, so outside systems that are handed it can refuse a stale one.
func (h *Handle) Fence() uint64 { return h.started.Fence }

// Action returns the action as it was started.
func (h *Handle) Action() kapi.Action { return h.started.Action }

// Dismissed returns the failed actions that were dismissed for the start, as they were before
// (see Start.DismissFailed).
func (h *Handle) Dismissed() []kapi.Action { return h.dismissed }

// Progress reports how far the operation is, 0 to 1. It notes the value and returns; at most
// ten times a second the newest is sent. Values outside are clamped; NaN, and values below
// what was reported already, are ignored (see ResetProgress).
func (h *Handle) Progress(p float64) {
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

// ResetProgress makes the progress unknown again: a new phase begins, and the next Progress
// may be lower.
func (h *Handle) ResetProgress() {
	h.say(func(s *saying) bool {
		s.progress = nil
		s.resets++
		return true
	})
}

// State says what the operation is doing now, in at most 500 code points (more is cut); ""
// clears it. Like Progress, it notes and returns.
func (h *Handle) State(state string) {
	h.say(func(s *saying) bool {
		if s.state != nil && *s.state == state {
			return false
		}
		s.state = &state
		return true
	})
}

// Impacted says that the operation has issues but goes on, and why: reason becomes the state
// until State or Recovered is called. It returns when the server was asked to note it; the
// error is a reason why it has not yet: the operation may go on all the same, and it is asked
// again.
func (h *Handle) Impacted(reason string) error {
	return h.move(func(s *saying) {
		if s.state != h.reason || s.state == nil {
			h.before = s.state
		}
		h.reason = &reason
		s.status, s.state = kapi.StatusImpacted, h.reason
	})
}

// Recovered says that the issues are over; a state that was the reason of Impacted goes back
// to what it was before. It returns like Impacted.
func (h *Handle) Recovered() error {
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
func (h *Handle) say(change func(*saying) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.sealed && change(&h.says) {
		h.says.version++
		h.kick()
	}
}

func (h *Handle) move(change func(*saying)) error {
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
func (h *Handle) kick() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// collect returns what is to be sent, and whether a reset goes before it.
func (h *Handle) collect() (s saying, reset bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.says, h.says.resets != h.unreset
}

// sent notes what became of a report.
func (h *Handle) sent(s saying, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.unreset = s.resets
	}
	h.waiting = answer(h.waiting, s.version, err)
}

// close has nothing more said.
func (h *Handle) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sealed = true
	h.waiting = answer(h.waiting, h.says.version, kapi.ErrUnknown)
}

// matters tells an update of the action that the operation should hear of at once.
func (h *Handle) matters(a kapi.Action) bool {
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
