package store

import (
	"strconv"

	"github.com/kettubot/kapi"
)

// Defined is what a store keeps of the action of a defined operation, besides what it keeps of every action. A
// record's Defined is never changed, only replaced.
type Defined struct {
	// Limit is how many actions of the operation may have a turn at once, 0 if that is not limited. Turn is the number
	// of the turn that the action has, 1 to Limit, 0 if it has none.
	Limit int `json:"limit,omitempty"`
	Turn  int `json:"turn,omitempty"`
	// Unclaimed is true for a start that no peer that offers the operation has claimed yet. It has no runner, keys or
	// turn. MayWait and Continues (the id of the failed action that it continues) are for the claim.
	Unclaimed bool `json:"unclaimed,omitempty"`
	MayWait   bool `json:"may_wait,omitempty"`
	// Patience is for how long it may wait, in milliseconds, 0 if that is not limited or it may not wait.
	Patience  int64  `json:"patience,omitempty"`
	Continues string `json:"continues,omitempty"`
	// Origin is the id of the first of the actions that continue each other, its own if it continues none.
	Origin string `json:"origin,omitempty"`
	// Resumable, Takeovers and Within (in milliseconds) are from the definition: see kapi.Resume.
	Resumable bool  `json:"resumable,omitempty"`
	Takeovers int   `json:"takeovers,omitempty"`
	Within    int64 `json:"within,omitempty"`
	// Vacant is true while the action has no runner because its last one has died or handed it over. Its status is
	// impacted, or pending if it had not begun.
	Vacant bool `json:"vacant,omitempty"`
	// Why says why a vacant action has no runner.
	Why string `json:"why,omitempty"`
	// HandedOver says of the last vacancy that the runner didn't die but handed the action over.
	HandedOver bool `json:"handed_over,omitempty"`
	// Last is the runner that a vacant action has lost, if it is not proven that its work has ended; nil otherwise.
	Last *kapi.Runner `json:"last,omitempty"`
	// Claim is the fence of the latest claim or vacancy of an action that has not begun, 0 if there was none.
	Claim uint64 `json:"claim,omitempty"`
	// Version is the version of its checkpoints that a runner must be able to read, as of the last vacancy. It means
	// nothing if Saves is 0.
	Version int `json:"version,omitempty"`
	// Deaths is how many runners have died since the last new checkpoint, and Saves the count of checkpoints (see
	// CheckpointMark) as of the last vacancy.
	Deaths int    `json:"deaths,omitempty"`
	Saves  uint64 `json:"saves,omitempty"`
	// Parked is true while a paused operation does nothing. Said is the state from before it parked, or became vacant.
	Parked bool   `json:"parked,omitempty"`
	Said   string `json:"said,omitempty"`
	// Refusal says why the start was refused by the peer that has claimed it, nil if it wasn't.
	Refusal *Refusal `json:"refusal,omitempty"`
}

// A Refusal is what the peer that has claimed a start tells the one that has recorded it. Only the fields of one of
// the reasons are set.
type Refusal struct {
	// Key or Operation was held by Holder (an encoded kapi.Action): see kapi.HeldError.
	Key       string `json:"key,omitempty"`
	Operation string `json:"operation,omitempty"`
	Limit     int    `json:"limit,omitempty"`
	Holder    []byte `json:"holder,omitempty"`
	// Preflight is the reason of the operation's Preflight.
	Preflight string `json:"preflight,omitempty"`
	// Fields and Reasons say what is wrong with the arguments.
	Fields  []string `json:"fields,omitempty"`
	Reasons []string `json:"reasons,omitempty"`
	// Unknown is true if the action that it continues was no longer there.
	Unknown bool `json:"unknown,omitempty"`
	// Invalid is any other reason why the request is wrong.
	Invalid string `json:"invalid,omitempty"`
	// Fault is what went wrong at the peer that has claimed the start, although the request may be right.
	Fault string `json:"fault,omitempty"`
}

// Turns of a limited operation are claimed and queued for like keys, by names that no key can have.

// turnMark begins the names of turns. Keys have no control characters.
const turnMark = "\x1f"

// TurnKey names turn n of an operation.
func TurnKey(operation string, n int) string {
	return turnMark + operation + turnMark + strconv.Itoa(n)
}

// TurnsKey names the queue for the turns of an operation.
func TurnsKey(operation string) string { return turnMark + operation }

// IsTurn reports whether a name is one of TurnsKey or TurnKey.
func IsTurn(key string) bool { return len(key) > 0 && key[:1] == turnMark }

// Holds returns all that the action holds: its keys, and its turn.
func (r *Record) Holds() []string {
	if r.Defined == nil || r.Defined.Turn == 0 {
		return r.Keys
	}
	return append(r.Keys[:len(r.Keys):len(r.Keys)], TurnKey(r.Operation, r.Defined.Turn))
}

// NamedRunner returns the id of the runner that the record names, "" if it names none. It is that of the action's runner
// or, if it has none, Defined.Last: a store keeps what it knows of either (see Store.Purge).
func (r *Record) NamedRunner() string {
	if r.Runner == nil && r.Defined != nil && r.Defined.Last != nil {
		return r.Defined.Last.ID
	}
	return r.RunnerID()
}

// Claimable reports whether a peer that offers the operation may claim the action: it is a recorded start, or one that
// has lost its runner and is not paused.
func (r *Record) Claimable() bool {
	return r.Defined != nil && r.CancelRequestedAt == 0 && (r.Defined.Unclaimed || r.Defined.Vacant && r.PausedBy == "")
}
