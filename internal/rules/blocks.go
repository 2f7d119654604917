package rules

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A Picture is what is ongoing, as of the head that a transaction has read.
type Picture interface {
	// Get returns the record of an ongoing action.
	Get(id string) (store.Record, bool)
	// Holder returns the id of the action that holds a key, "" if none does.
	Holder(key string) string
	// Waiting returns the records of those that wait for keys, in any order.
	Waiting() []*store.Record
}

// A block is what stands between an action and one of its keys.
type block struct {
	key string
	// holder is nil for a transaction that is open.
	holder *store.Record
	// behind is true for one that doesn't hold the key, but waits for it longer.
	behind bool
	// circular is true for one that waits for the action itself.
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
		return "waits until " + name + " is dismissed, which failed"
	}
	return "waits for " + name
}

// waitsFor is what an action that waits says of the block, for programs. String is for people.
func (b *block) waitsFor() *kapi.WaitsFor {
	w := &kapi.WaitsFor{Key: b.key}
	if b.holder != nil {
		w.Action, w.Title = b.holder.ID, b.holder.Title
	}
	return w
}

// refusal is what a start is told that doesn't wait.
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

// wanted says by key who of those that wait has waited longest for it. It is made on the way
// through them, so that each costs a look at its own keys only.
type wanted map[string]*store.Record

func (w wanted) add(r *store.Record) {
	for _, key := range r.Waits {
		if w[key] == nil {
			w[key] = r
		}
	}
}

// by returns who has waited longest for one of keys, nil if nobody does.
func (w wanted) by(keys []string) (b *block) {
	for _, key := range keys {
		if r := w[key]; r != nil && (b == nil || r.Ticket < b.holder.Ticket) {
			b = &block{key: key, holder: r, behind: true}
		}
	}
	return b
}

// explain has an action that waits say what for; b is nil if nothing is in its way. It is false if that is
// what it says already.
func (b *block) explain(r *store.Record) bool {
	state, waits := "", (*kapi.WaitsFor)(nil)
	if b != nil {
		state, waits = cutState(b.String()), b.waitsFor()
	}
	same := r.State == state && (waits == r.WaitsFor || waits != nil && r.WaitsFor != nil && *waits == *r.WaitsFor)
	r.State, r.WaitsFor = state, waits
	return !same
}

// Stalled reports whether somebody waits for keys that nobody holds: they were claimed by a
// transaction that was rolled back, of which no peer is told.
func Stalled(world Picture) bool {
	return slices.ContainsFunc(world.Waiting(), func(r *store.Record) bool {
		return r.Eligible() && !slices.ContainsFunc(r.Waits, func(key string) bool { return world.Holder(key) != "" })
	})
}
