package store

// A Saved is something that is kept for an action of an operation, apart from its record: it takes no seq, is in no
// feed, and is deleted with the action.
type Saved struct {
	// Action is the id of its action.
	Action string
	// Name is that of the checkpoint, "" for the one without a name, or ArgumentsName.
	Name string
	// Version is the version of its form (see kapi.Definition).
	Version int
	// Data is JSON. Writing nil deletes it.
	Data []byte
}

// ArgumentsName is the name of the arguments. It can't be that of a checkpoint.
const ArgumentsName = "\x1farguments"

// A Mark of checkpoints says how far an action's checkpoints have come.
type CheckpointMark struct {
	// Saves counts the writes of checkpoints, deletions included; the arguments don't count. It never falls.
	Saves uint64
	// Version is that of the latest.
	Version int
}

// A Move says that everything that is saved for one action, and its mark, belongs to another from now on, which has
// nothing yet.
type Move struct{ From, To string }

// An OfferRecord is what a store keeps of an offered operation.
type OfferRecord struct {
	// Name is that of the operation, and About describes it, as JSON (kapi.Offer).
	Name  string
	About []byte
	// Runners are the runners of the peers that offer it, live or not. They are only read.
	Runners []RunnerRecord
	// OfferedAt is when it was last offered, in milliseconds since 1970-01-01 UTC. It is only read.
	OfferedAt int64
}

// Quiet reports whether no action changes: then the seq of the head doesn't either, and no other peer is woken.
func (w *Writes) Quiet() bool { return len(w.Insert) == 0 && len(w.Update) == 0 }
