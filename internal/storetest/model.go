package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
)

// testModel compares the engine, at two peers of one store, with a model of a few lines. It makes
// random starts, reports, ends, cancellations and dismissals, and compares every peer's list after
// each.
func testModel(t *testing.T, b Backend) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{t: rt, actions: map[string]*modelled{}}
		open := b.New(t)
		for i := range 3 {
			if i > 0 && b.Single {
				m.peers = append(m.peers, m.peers[0])
				continue
			}
			p, err := peer.Open(within(t), open(), peer.Options{
				Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), StoreTimeout: deadline,
			})
			if err != nil {
				rt.Fatalf("peer.Open: %v", err)
			}
			defer p.Close()
			m.peers = append(m.peers, p)
		}
		defer m.endAll()
		rt.Repeat(map[string]func(*rapid.T){
			"start": m.start, "move": m.move, "end": m.end, "cancel": m.cancel, "dismiss": m.dismiss,
			"": m.check,
		})
	})
}

// A model is kapi's behaviour in its simplest form.
type model struct {
	t       tb
	peers   []*peer.Peer
	actions map[string]*modelled
	order   []string // ids, in order of the starts
	fence   uint64   // the highest so far
}

type modelled struct {
	op        *operation
	keys      []string
	status    kapi.Status
	state     string
	release   bool
	cancelled bool
}

func (m *model) peer(rt *rapid.T) *peer.Peer {
	return m.peers[rapid.IntRange(0, len(m.peers)-1).Draw(rt, "peer")]
}

// any draws one of the actions ever started that fit accepts; it skips if there is none.
func (m *model) any(rt *rapid.T, fit func(*modelled) bool) *modelled {
	var ids []string
	for _, id := range m.order {
		if fit(m.actions[id]) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		rt.Skip("no such action")
	}
	return m.actions[rapid.SampledFrom(ids).Draw(rt, "action")]
}

func running(a *modelled) bool { return a.status.Active() }

func (m *model) start(rt *rapid.T) {
	spec := kapi.Spec{
		Title:            fmt.Sprint("action ", len(m.order)),
		Keys:             rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 3, rapid.ID).Draw(rt, "keys"),
		ReleaseOnFailure: rapid.Bool().Draw(rt, "release"),
		DismissFailed:    rapid.Bool().Draw(rt, "dismiss failed"),
	}
	op, err := begin(within(m.t), m.peer(rt), spec)
	blocked, dismissed := m.contest(spec)
	if blocked != "" {
		var held *kapi.HeldError
		holder := m.holder(blocked)
		if !errors.As(err, &held) || held.Key != blocked || held.Holder.ID != holder.op.action.ID ||
			held.Holder.Status != holder.status {
			rt.Fatalf("start with keys %v: %v; want it refused for %q, held by %s", spec.Keys, err, blocked, holder.op.action.ID)
		}
		return
	}
	if err != nil {
		rt.Fatalf("start with keys %v: %v, although nobody holds them", spec.Keys, err)
	}
	if op.handle.Fence() <= m.fence {
		rt.Fatalf("the fence went from %d to %d", m.fence, op.handle.Fence())
	}
	m.fence = op.handle.Fence()
	if got := len(op.handle.Dismissed()); got != len(dismissed) {
		rt.Fatalf("the start dismissed %d actions, want %d", got, len(dismissed))
	}
	for _, a := range dismissed {
		a.status, a.keys = kapi.StatusAborted, nil
	}
	m.actions[op.action.ID] = &modelled{op: op, keys: spec.Keys, status: kapi.StatusRunning, release: spec.ReleaseOnFailure}
	m.order = append(m.order, op.action.ID)
}

// contest returns the key for which a start is refused, or the failed actions that it dismisses.
func (m *model) contest(spec kapi.Spec) (blocked string, dismissed []*modelled) {
	for _, key := range spec.Keys {
		holder := m.holder(key)
		switch {
		case holder == nil:
		case !spec.DismissFailed || holder.status != kapi.StatusFailed:
			return key, nil
		case !slices.Contains(dismissed, holder):
			dismissed = append(dismissed, holder)
		}
	}
	return "", dismissed
}

func (m *model) holder(key string) *modelled {
	for _, a := range m.actions {
		if slices.Contains(a.keys, key) {
			return a
		}
	}
	return nil
}

func (m *model) move(rt *rapid.T) {
	a := m.any(rt, running)
	var err error
	if rapid.Bool().Draw(rt, "impacted") {
		a.status, a.state = kapi.StatusImpacted, fmt.Sprint("reason ", rapid.IntRange(0, 2).Draw(rt, "reason"))
		err = a.op.handle.Impacted(a.state)
	} else {
		a.status, a.state = kapi.StatusRunning, ""
		err = a.op.handle.Recovered()
	}
	if err != nil {
		rt.Fatalf("a move to %s: %v", a.status, err)
	}
}

func (m *model) end(rt *rapid.T) {
	a := m.any(rt, running)
	if rapid.Bool().Draw(rt, "fails") {
		a.op.end(rt, errors.New("broken"))
		a.status, a.state = kapi.StatusFailed, "broken"
	} else {
		a.op.end(rt, nil)
		a.status = kapi.StatusCompleted
	}
	if a.status == kapi.StatusCompleted || a.release {
		a.keys = nil
	}
}

func (m *model) cancel(rt *rapid.T) {
	a := m.any(rt, func(*modelled) bool { return true })
	_, err := m.peer(rt).Cancel(within(m.t), a.op.action.ID, "the model")
	var refusal *kapi.NotCancellableError
	switch {
	case a.status.Active():
		a.cancelled = true
		if err != nil {
			rt.Fatalf("Cancel of an action that is %s: %v", a.status, err)
		}
	case a.status == kapi.StatusFailed && !errors.As(err, &refusal), !a.status.Ongoing() && !errors.Is(err, kapi.ErrUnknown):
		rt.Fatalf("Cancel of an action that is %s: %v", a.status, err)
	}
}

func (m *model) dismiss(rt *rapid.T) {
	a := m.any(rt, func(*modelled) bool { return true })
	_, err := m.peer(rt).Dismiss(within(m.t), a.op.action.ID, "the model")
	want := kapi.ErrUnknown
	switch {
	case a.status == kapi.StatusFailed:
		a.status, a.keys, want = kapi.StatusAborted, nil, nil
	case a.status.Active():
		want = kapi.ErrNotFailed
	}
	if !errors.Is(err, want) {
		rt.Fatalf("Dismiss of an action that was %s: %v, want %v", a.status, err, want)
	}
}

// check compares the list of every peer with the model.
func (m *model) check(rt *rapid.T) {
	var want []string
	for _, id := range m.order {
		if a := m.actions[id]; a.status.Ongoing() {
			want = append(want, a.String())
		}
	}
	slices.Sort(want)
	for i, p := range m.peers[:2] { // the last one stays a light peer
		all := list(m.t, p)
		if !slices.IsSortedFunc(all, func(a, b kapi.Action) int { return cmp.Compare(a.CreatedAt, b.CreatedAt) }) {
			rt.Fatalf("the list of peer %d is not sorted by age", i)
		}
		var got []string
		for _, a := range all {
			known := modelled{status: a.Status, keys: a.Keys, state: a.State, cancelled: a.CancelRequestedAt != 0}
			known.op = &operation{action: a}
			got = append(got, known.String())
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			rt.Fatalf("peer %d lists\n\t%s\nwant\n\t%s", i, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
	}
}

func (a *modelled) String() string {
	keys := slices.Sorted(slices.Values(a.keys))
	state := a.state
	if a.cancelled && a.status == kapi.StatusFailed {
		// "cancelled by X: broken" if the request reached the operation before it ended.
		state = state[strings.LastIndex(state, ": ")+1:]
		state = strings.TrimSpace(state)
	}
	return fmt.Sprintf("%s %s keys=%v state=%q cancelled=%v", a.op.action.ID, a.status, keys, state, a.cancelled)
}

func (m *model) endAll() {
	for _, a := range m.actions {
		if a.status.Active() {
			a.op.finish <- nil
			<-a.op.done
		}
	}
}
