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
	// Queue returns the records of the actions that wait for a key, in any order.
	Queue(key string) []*store.Record
	// Waits reports whether any action may wait for a key.
	Waits() bool
}

// A block is what keeps an action from getting one of its keys, or its turn.
type block struct {
	key string
	// operation and limit are set if key is the name of the queue for turns.
	operation string
	limit     int
	// holder is nil if an open transaction claims the key.
	holder *store.Record
	// behind is true if holder doesn't hold the key, or have a turn, but is ahead in the queue.
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
	case b.limit == 1:
		return "waits for its turn: " + name + " has it"
	case b.limit > 1:
		return fmt.Sprintf("waits for its turn: all %d are taken, the first by %s", b.limit, name)
	case b.holder.Status == kapi.StatusFailed:
		return "waits until " + name + ", which failed, is dismissed"
	}
	return "waits for " + name
}

// waitsFor describes the block for programs. String describes it for people.
func (b *block) waitsFor() *kapi.WaitsFor {
	w := &kapi.WaitsFor{Operation: b.operation}
	if b.limit == 0 {
		w.Key = b.key
	}
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
	w := b.waitsFor()
	return &kapi.HeldError{Key: w.Key, Operation: w.Operation, Limit: b.limit, Holder: b.holder.Shown(), Circular: b.circular}
}

// name returns the key, or the operation that is at its limit.
func (b *block) name() string { return cmp.Or(b.operation, b.key) }

func byTicket(a, b *store.Record) int { return cmp.Compare(a.Ticket, b.Ticket) }

// near is up to which place in a queue an action says that it waits for the holder of the key. The others
// say that they wait behind the one before them. Otherwise the end of one action would change all that wait.
const near = 16

// wanted has the waiters for each key. It is built while the waiters are walked in order, so that each
// waiter costs only a look at its own keys.
type wanted map[string]waitline

// A waitline is the part of a queue that has been walked.
type waitline struct {
	first, last *store.Record
	n           int
}

// add adds a waiter that is behind those that were added before. forTurn says that it waits only for its turn.
// Otherwise others may get their turns before it: it takes its place in that queue once its keys are free.
func (w wanted) add(r *store.Record, forTurn bool) {
	for _, key := range r.Waits {
		if store.IsTurn(key) && !forTurn {
			continue
		}
		l := w[key]
		if l.first == nil {
			l.first = r
		}
		l.last = r
		l.n++
		w[key] = l
	}
}

// by returns a block by the action that has waited longest for one of keys, nil if none waits.
func (w wanted) by(keys []string) (b *block) {
	for _, key := range keys {
		if r := w[key].first; r != nil && (b == nil || r.Ticket < b.holder.Ticket) {
			b = &block{key: key, holder: r, behind: true}
		}
	}
	return b
}

// turn returns a block by the action that has waited longest for a turn, nil if none waits.
func (w wanted) turn(n need) *block {
	if n.limit == 0 {
		return nil
	}
	queue := store.TurnsKey(n.operation)
	if r := w[queue].first; r != nil {
		return &block{key: queue, operation: n.operation, limit: n.limit, holder: r, behind: true}
	}
	return nil
}

// told returns the block that a waiter is told of, if b is what keeps it from its keys. b may be nil.
func (w wanted) told(b *block) *block {
	if b == nil {
		return nil
	}
	if l := w[b.key]; l.n >= near {
		return &block{key: b.key, operation: b.operation, limit: b.limit, holder: l.last, behind: true}
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

// Stalled returns the keys of the waiting actions that wait for a key although no action holds any of theirs. That
// happens when the transaction that claimed them was rolled back, which no peer is notified of.
func Stalled(waiting []*store.Record, holder func(key string) string) (keys []string) {
	for _, r := range waiting {
		if r.Eligible() && !waitsForTurn(r) && !slices.ContainsFunc(r.Waits, func(key string) bool { return holder(key) != "" }) {
			keys = append(keys, r.Waits...)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
