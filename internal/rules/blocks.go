package rules

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A Picture has the ongoing actions, as of the head that a transaction has read.
type Picture interface {
	// Get returns the record of an ongoing action.
	Get(id string) (store.Record, bool)
	// Holder returns the id of the action that holds a key, or "" if none does.
	Holder(key string) string
	// Waiting returns the records of the actions that wait for keys, in any order.
	Waiting() []*store.Record
}

// A block is what keeps an action from getting one of its keys.
type block struct {
	key string
	// holder is nil if an open transaction claims the key.
	holder *store.Record
	// behind is true if holder doesn't hold the key, but is ahead in the queue for it.
	behind bool
	// circular is true if holder waits for the action itself.
	circular bool
}

func (b *block) String() string {
	if b.holder == nil {
		return "waits for a transaction that claims the key"
	}
	name := fmt.Sprintf(`"%s" (%s)`, b.holder.Title, b.holder.ID) // not %q, so that it is never cut
	switch {
	case b.behind:
		return "waits behind " + name
	case b.holder.Status == kapi.StatusFailed:
		return "waits until " + name + ", which failed, is dismissed"
	}
	return "waits for " + name
}

// waitsFor describes the block for programs. String describes it for people.
func (b *block) waitsFor() *kapi.WaitsFor {
	w := &kapi.WaitsFor{Key: b.key}
	if b.holder != nil {
		w.Action, w.Title = b.holder.ID, b.holder.Title
	}
	return w
}

// refusal returns the error for a start that doesn't wait.
func (b *block) refusal() error {
	if b.holder == nil {
		return &store.BusyError{Keys: []string{b.key}}
	}
	return b.held()
}

func (b *block) held() *kapi.HeldError {
	return &kapi.HeldError{Key: b.key, Holder: b.holder.Shown(), Circular: b.circular}
}

func byTicket(a, b *store.Record) int { return cmp.Compare(a.Ticket, b.Ticket) }

// wanted maps a key to the action that has waited longest for it. It is built while the waiters are
// walked in order, so that each waiter costs only a look at its own keys.
type wanted map[string]*store.Record

func (w wanted) add(r *store.Record) {
	for _, key := range r.Waits {
		if w[key] == nil {
			w[key] = r
		}
	}
}

// by returns a block by the action that has waited longest for one of keys, nil if none waits.
func (w wanted) by(keys []string) (b *block) {
	for _, key := range keys {
		if r := w[key]; r != nil && (b == nil || r.Ticket < b.holder.Ticket) {
			b = &block{key: key, holder: r, behind: true}
		}
	}
	return b
}

// explain sets the state and WaitsFor of a waiting action to the block; nil clears them. It reports whether
// that changed anything.
func (b *block) explain(r *store.Record) bool {
	state, waits := "", (*kapi.WaitsFor)(nil)
	if b != nil {
		state, waits = cutState(b.String()), b.waitsFor()
	}
	same := r.State == state && (waits == r.WaitsFor || waits != nil && r.WaitsFor != nil && *waits == *r.WaitsFor)
	r.State, r.WaitsFor = state, waits
	return !same
}

// Stalled reports whether an action waits for keys that no action holds. That happens when the
// transaction that claimed them was rolled back, which no peer is notified of.
func Stalled(world Picture) bool {
	return slices.ContainsFunc(world.Waiting(), func(r *store.Record) bool {
		return r.Eligible() && !slices.ContainsFunc(r.Waits, func(key string) bool { return world.Holder(key) != "" })
	})
}
