package rules

import (
	"slices"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// An operation may be limited: then each of its actions needs a turn while it works, and there are as many turns as
// the limit says. Turns are held and queued for like keys. They differ in three ways: any turn will do; a failed action
// whose work has ended has none; and an action that waits for a key doesn't keep others from their turns.

// A need is what an action wants to hold, all of it at once.
type need struct {
	keys []string
	// operation and limit are set if it also needs a turn.
	operation string
	limit     int
	// continues is the id of the failed action whose keys it takes over, "" if there is none.
	continues string
}

func needOf(r *store.Record) need {
	n := need{keys: r.Keys}
	if r.Waiting() {
		n.keys = r.Waits
	}
	if r.Defined == nil {
		return n
	}
	n.continues = r.Defined.Continues
	if r.Defined.Limit > 0 {
		n.operation, n.limit = r.Operation, r.Defined.Limit
	}
	if last := len(n.keys) - 1; last >= 0 && store.IsTurn(n.keys[last]) {
		n.keys = slices.Clip(n.keys[:last])
	}
	return n
}

// names returns the keys, and the name of the queue for turns as the last if it needs one.
func (n need) names() []string {
	if n.limit == 0 {
		return n.keys
	}
	return append(slices.Clip(n.keys), store.TurnsKey(n.operation))
}

// freeTurn returns the lowest number of a free turn, 0 if there is none. first is the action with the lowest fence that
// has a turn. It looks at all turns, so that a light peer asks for all of them at once.
func (pl *Plan) freeTurn(n need) (turn int, first *store.Record) {
	for i := n.limit; i > 0; i-- {
		id := pl.holder(store.TurnKey(n.operation, i))
		if id == "" {
			turn = i
			continue
		}
		if r := pl.lookup(id); first == nil || r.Fence < first.Fence {
			first = r
		}
	}
	return turn, first
}

// turnsWithin returns one of the actions that have the turns, if within has all of them. Then there won't be a free
// turn before an action in within ends.
func (pl *Plan) turnsWithin(n need, within []string) (first *store.Record) {
	for i := n.limit; i > 0; i-- {
		id := pl.holder(store.TurnKey(n.operation, i))
		if !slices.Contains(within, id) {
			return nil
		}
		first = pl.lookup(id)
	}
	return first
}

// hold gives an action what it needs, which is free.
func (pl *Plan) hold(r *store.Record, n need) {
	r.Keys, r.Waits, r.WaitsFor = n.keys, nil, nil
	if turn, _ := pl.freeTurn(n); turn != 0 {
		define(r, func(d *store.Defined) { d.Turn = turn })
	}
}

// queueFor makes an action wait for what it needs.
func queueFor(r *store.Record, n need) {
	r.Waits, r.Keys = n.names(), nil
	freeTurnOf(r)
}

// freeTurnOf frees the turn of an action, if it has one.
func freeTurnOf(r *store.Record) {
	if r.Defined != nil && r.Defined.Turn != 0 {
		define(r, func(d *store.Defined) { d.Turn = 0 })
	}
}

// define changes what is kept of the action of a defined operation. Copies of the record keep what they had.
func define(r *store.Record, change func(*store.Defined)) {
	d := *r.Defined
	change(&d)
	r.Defined = &d
}

// stirs returns the names whose waiters a change of the action may concern.
func stirs(r *store.Record) []string {
	names := slices.Concat(r.Keys, r.Waits)
	if r.Defined != nil && r.Defined.Turn != 0 {
		names = append(names, store.TurnsKey(r.Operation))
	}
	return names
}

// Lookups returns the names that a light batch looks up for a change by which the action may get or lose its keys and
// its turn.
func Lookups(r *store.Record) []string {
	names := slices.Concat(r.Keys, r.Waits)
	n := needOf(r)
	if n.limit == 0 {
		return names
	}
	names = append(names, store.TurnsKey(n.operation))
	for i := range n.limit {
		names = append(names, store.TurnKey(n.operation, i+1))
	}
	return names
}

// waitsForTurn reports whether what keeps a waiting action from its keys is that it has no turn.
func waitsForTurn(r *store.Record) bool { return r.WaitsFor != nil && r.WaitsFor.Operation != "" }

// waitsForPeer is what an action without a runner waits for before it has begun.
func waitsForPeer(r *store.Record) *kapi.WaitsFor { return &kapi.WaitsFor{Operation: r.Operation} }
