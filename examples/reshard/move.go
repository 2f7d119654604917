package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/kettubot/kapi"
)

// A mover moves slots, one after the other, as README.md tells. It is used by one goroutine.
type mover struct {
	h       kapi.OperationHandle
	log     *slog.Logger
	cluster *cluster
	args    arguments
	plan    *plan
	addrs   map[string]string // of the masters, by id

	// Of the slot in hand:
	index  int    // its index in the plan
	begun  bool   // whether this operation may have opened it
	opened string // the source's run id before it was opened
	where  string // the slot, for people
	moved  int    // how many keys
	// cancelled is why the work is to end, once a cancel has come while the slot was in hand: it is finished first.
	cancelled error
}

// checkpoint is stored before a slot is opened. All slots before Next are done.
type checkpoint struct {
	Next   int    `json:"next"`             // index in the plan
	Opened string `json:"opened,omitempty"` // the source's run id
}

// move moves the slot in hand. Whatever goes wrong is tried again from the beginning, with a new look at both nodes,
// for as long as the arguments allow.
func (m *mover) move(ctx context.Context) error {
	m.h.SetState(m.where)
	resumed := m.begun
	err := m.retry(ctx, func(again bool) error {
		if again {
			m.locate(ctx)
		}
		return m.step(ctx, again || resumed)
	})
	if err == nil {
		err = m.cancelled
	}
	return err
}

// step moves the slot in hand from wherever it stands.
func (m *mover) step(ctx context.Context, resumed bool) error {
	s, err := m.observe(context.WithoutCancel(ctx), m.plan.slots[m.index])
	if err != nil {
		return err
	}
	if resumed {
		m.log.Info("looked at the slot before going on", "fence", m.h.Fence(), "found", s.String())
	}
	if err := s.check(m.plan, m.begun || m.args.Adopt); err != nil {
		return err
	}
	if !m.begun {
		if err := m.h.Checkpoint(checkpoint{m.index, s.run}); err != nil {
			return &halt{err}
		}
		resumed = !s.untouched()
		m.begun, m.opened = true, s.run
	}
	// Progress counts slots. Unlike keys they don't become more or fewer under the clients' hands. And it says what the
	// checkpoint says, so that it doesn't fall when another runner goes on.
	m.h.SetProgress(float64(m.index) / float64(len(m.plan.slots)))
	if s.targetOwner != m.plan.To {
		if err := m.empty(ctx, s, resumed); err != nil {
			return err
		}
	}
	return m.handOver(ctx, s)
}

// empty opens the slot and moves its keys. The target is opened first: a client that the source sends on to a target
// that isn't ready would be sent back.
func (m *mover) empty(ctx context.Context, s *standing, resumed bool) error {
	if s.importing == "" {
		if err := m.setSlot(ctx, m.plan.To, s.slot, "importing", m.plan.From); err != nil {
			return err
		}
	}
	if s.sourceOwner != m.plan.From { // it has given the slot away already, so it has no keys of it, and gets none
		return nil
	}
	if s.migrating == "" {
		if err := m.setSlot(ctx, m.plan.From, s.slot, "migrating", m.plan.To); err != nil {
			return err
		}
	}
	if resumed {
		if err := m.endTransfers(ctx); err != nil {
			return err
		}
	}
	return m.moveKeys(ctx, s)
}

// handOver makes the target the owner. It hears it first: if it were the source, there would be a moment in which the
// source no longer thinks that it owns the slot, the target doesn't yet, and nobody serves it.
func (m *mover) handOver(ctx context.Context, s *standing) error {
	if s.targetOwner != m.plan.To {
		if err := m.setSlot(ctx, m.plan.To, s.slot, "node", m.plan.To); err != nil {
			return err
		}
	}
	if err := m.setSlot(ctx, m.plan.From, s.slot, "node", m.plan.To); err != nil {
		return err
	}
	for id := range m.addrs {
		if id == m.plan.From || id == m.plan.To {
			continue
		}
		// The others learn it from the target in any case, soon.
		var failed *commandError
		if err := m.setSlot(ctx, id, s.slot, "node", m.plan.To); errors.As(err, &failed) {
			m.log.Warn("a node will hear later whose the slot is", "slot", s.slot, "error", err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// setSlot sends CLUSTER SETSLOT to the node with an id.
func (m *mover) setSlot(ctx context.Context, at string, slot int, what, peer string) error {
	return m.do(ctx, at, askTimeout, "cluster", "setslot", slot, what, peer)
}

// do sends a command with an effect to the node with an id. All effects of the operation are sent here, each with a
// permission of its own.
func (m *mover) do(ctx context.Context, id string, timeout time.Duration, args ...any) error {
	if err := m.proceed(ctx); err != nil {
		return err
	}
	// It isn't broken off when the context ends: we would not know what became of it.
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer stop()
	if err := m.cluster.at(m.addrs[id]).Do(ctx, args...).Err(); err != nil {
		return &commandError{m.addrs[id], strings.TrimSpace(fmt.Sprintln(args[:min(4, len(args))]...)), err}
	}
	return nil
}

// A commandError is the failure of a command with an effect. It may have had its effect all the same.
type commandError struct {
	addr, command string
	err           error
}

func (e *commandError) Error() string { return fmt.Sprintf("%s: %s: %v", e.addr, e.command, e.err) }
func (e *commandError) Unwrap() error { return e.err }

// proceed waits until the next effect is allowed. A cancel is noted, and the slot in hand finished, so that no slot is
// left open; all other ends hold at once, since another runner goes on.
func (m *mover) proceed(ctx context.Context) error {
	if m.cancelled != nil {
		ctx = context.WithoutCancel(ctx) // or Proceed would say again what is known
	}
	err := m.h.Proceed(ctx)
	var cancelled *kapi.CancelledError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &cancelled):
		if m.cancelled == nil {
			m.h.SetState(m.where + ": finishing it, then stopping")
		}
		m.cancelled = err
		return nil
	}
	return &halt{err}
}

// A halt is an end of the work that was asked for or forced by kapi, not by Redis.
type halt struct{ err error }

func (h *halt) Error() string { return h.err.Error() }
func (h *halt) Unwrap() error { return h.err }

// The pauses before something is tried again.
const firstPause, longestPause = 100 * time.Millisecond, 5 * time.Second

// retry calls f until it succeeds, and makes the operation impacted meanwhile. After a cancel nothing is tried again.
func (m *mover) retry(ctx context.Context, f func(again bool) error) error {
	began, pause := time.Now(), firstPause
	for again := false; ; again = true {
		err := f(again)
		if err == nil {
			if again {
				m.note(m.h.Recovered())
			}
			return nil
		}
		var refused *refusal
		var halted *halt
		switch {
		case errors.As(err, &halted), errors.As(err, &refused):
			return err
		case m.cancelled != nil || ctx.Err() != nil:
			return m.broken(cmp.Or(m.cancelled, context.Cause(ctx)), err)
		case time.Since(began) >= m.args.patience():
			return fmt.Errorf("%s: gave up after %v: %w", m.where, m.args.patience(), err)
		}
		m.log.Warn("trying again", "where", m.where, "pause", pause, "error", err)
		m.note(m.h.Impacted(fmt.Sprintf("%s: %v", m.where, err)))
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-ctx.Done(): // one last time: it may be enough to finish the slot
		}
		pause = min(2*pause, longestPause)
	}
}

// broken returns the error of an operation that is to stop, but whose slot in hand can't be finished.
func (m *mover) broken(cause, err error) error {
	var cancelled *kapi.CancelledError
	if m.begun && errors.As(cause, &cancelled) { // nobody will go on
		return fmt.Errorf("%w, and %s may be half moved (a new resharding can adopt it): %w", cause, m.where, err)
	}
	return fmt.Errorf("%w: %w", cause, err)
}

func (m *mover) note(err error) {
	if err != nil {
		m.log.Warn("the operation's state could not be reported", "error", err)
	}
}
