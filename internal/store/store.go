package store

import (
	"context"
	"time"
)

// A Store keeps actions durably: a SQLite file, or a database that several machines
// share. Users pass one to Open and never call it. This comment is the contract for
// whoever implements one; internal/storetest checks it.
//
//   - All methods may be called concurrently. They return when their context ends.
//   - Commit takes the store's one write lock before it reads anything and holds it
//     until the transaction has ended, so that changes become visible to every
//     reader in the order of seq.
//   - When Commit returns nil the transaction is on disk (fsync). When it returns an
//     error nothing of it was kept. If it can't know (the connection broke in it) it finds
//     out, for as long as its context allows; an error that wraps ErrOutcomeUnknown says
//     that it could not.
//   - Two actions never hold one key: the database's own uniqueness says so, and a
//     violation is answered with ErrKeyTaken. A store whose users may record starts in
//     transactions of their own answers with a *BusyError, without waiting, if one of those that
//     are open claims a key.
//   - A store that can't be reached, read or written now answers with an error that
//     wraps ErrUnavailable and says why.
//   - A store decides nothing: it loads, calls, writes.
type Store interface {
	// Snapshot returns the ongoing records, in any order, and the head they belong to.
	Snapshot(ctx context.Context) (Snapshot, error)

	// Feed returns the records whose seq is above since, ascending, up to the head,
	// tombstones included. It is cheap when there is none. ErrBehind is returned if
	// since is below the purged seq.
	Feed(ctx context.Context, since uint64) (Page, error)

	// Commit runs one write transaction: it reads the feed since b.Since and the
	// records named in b.Find, hands them to decide, writes what decide returns,
	// and commits. If decide fails or returns nothing to write, the transaction is
	// rolled back; decide's error is returned as it is. decide is called at most
	// once and must not call the store.
	Commit(ctx context.Context, b Batch, decide func(Loaded) (Writes, error)) error

	// Renew writes that the runner is alive: it adds the runner if it is new, adds
	// one to its Beat and sets its HeardAt. It takes no seq.
	Renew(ctx context.Context, r RunnerRecord) error

	// Runners returns those of the named runners that are known, in any order. No id is named twice.
	Runners(ctx context.Context, ids []string) ([]RunnerRecord, error)

	// Observed returns what was last observed of the named runners by the named clock (see
	// Observation.Clock), in any order. No id is named twice.
	Observed(ctx context.Context, clock string, runners []string) ([]Observation, error)

	// Observe replaces what was observed of these runners by these clocks. It takes no seq. What
	// a crash of the machine takes back of it was of no use any more.
	Observe(ctx context.Context, seen []Observation) error

	// Purge deletes what a Retention says, raises the purged seq to the highest of the tombstones
	// that it deleted in the same transaction, and forgets runners that no record names and that were
	// not heard since r.Before, and what was observed of them. It returns how many tombstones it deleted.
	Purge(ctx context.Context, r Retention) (int, error)

	// Listen calls wake after another peer (or this one) may have committed, until
	// ctx ends. A missed call costs a delay, never an update: peers also poll.
	Listen(ctx context.Context, wake func()) error

	// Close frees what the store holds. No method is called after it.
	Close() error
}

// A Glancer is a Store that can tell, without a lock and without waiting, that nothing was
// committed since it was last asked. What it saves is reading the head each time.
type Glancer interface {
	// Glance returns a mark of what was committed up to now, by anybody: while it is the
	// same, nothing was. It is false if that can't be told. It is not called once Close is.
	Glance() (Mark, bool)
}

// A Mark means nothing but that another one is equal to it.
type Mark [6]uint64

// A Head says how far a store's history has come.
type Head struct {
	// Epoch is the random id of the history. It changes when the store is restored.
	Epoch string
	// Seq is the number of the latest change.
	Seq uint64
	// Purged is the highest seq of a tombstone that was deleted: a reader that has
	// seen less may have missed an ending.
	Purged uint64
}

// Ahead is by how much seq jumps with a new epoch, so that fences keep growing although changes may
// have been lost.
const Ahead = 1 << 20

// A Snapshot is all that is ongoing.
type Snapshot struct {
	Head
	Records []Record
	// OneMachine is true if the store can't be shared by several machines, so that
	// a runner of an earlier boot can be proven dead.
	OneMachine bool
	// Secret is a key of the store's own, the same for all who open it: 32 random bytes
	// or more.
	Secret []byte
}

// A Page is a part of the feed.
type Page struct {
	Head
	// Records are in ascending order of seq; a record stands there once, with its
	// latest seq.
	Records []Record
	// Recorded are the ids of starts that transactions have recorded, and that are not adopted
	// yet (see RecordedStart); the first few of them are enough.
	Recorded []string
}

// A Batch says what a write transaction needs to read.
type Batch struct {
	// Since is the seq that the peer's view has reached.
	Since uint64
	// Find names records to load whatever their seq, tombstones included.
	Find []string
	// Runners names runners whose Beat is wanted.
	Runners []string
	// Requests names requests whose answers are wanted.
	Requests []Request
	// Nudges is how many of its changes want what transactions had recorded before (see
	// RecordedStart) to be among Loaded.Starts. Others don't mind if one is missing that was recorded
	// just now.
	Nudges int
	// Again, if it is not nil, says all of this anew: more changes may have come since, and the view
	// may have come further. A store does best to ask once it has its write lock, for which it may
	// have waited: before it reads, or afterwards, if it then reads all that is wanted beyond what
	// it has read. It must be in the call of Commit then, where Again may be called any number of times
	// before decide is.
	Again func() Batch
}

// Loaded is what a write transaction has read.
type Loaded struct {
	Page
	// Found has those of Batch.Find that exist.
	Found []Record
	// Beats has the Beat of those of Batch.Runners that exist.
	Beats map[string]uint64
	// Answers has those of Batch.Requests that were answered.
	Answers []Answer
	// Starts are those that transactions have recorded. Each is adopted, or stays.
	Starts []RecordedStart
	// NoStarts, if it is not nil, refuses every start: the store was changed by a newer kapi, which
	// says that this one may report what it runs and start nothing. It wraps ErrUnavailable.
	NoStarts error
}

// Writes is what a write transaction is to write.
type Writes struct {
	// Head is the seq of the last of Records.
	Head uint64
	// Insert and Update are whole records, each with its new seq.
	Insert, Update []Record
	// Free are keys that are held no more; they are freed before Claim is written.
	Free []string
	// Claim are keys that an action now holds.
	Claim []Claim
	// Runners are renewed (see Store.Renew) in the same transaction.
	Runners []RunnerRecord
	// Answers are kept.
	Answers []Answer
	// Adopted are the ids of recorded starts that are to be kept no more, because they are
	// among Insert now. Their keys are held already.
	Adopted []string
}

// A Request is a start that its sender may repeat without starting twice.
type Request struct {
	// By is who sent it, and Key their Idempotency-Key.
	By, Key string
}

// An Answer is what a Request got. It is kept as long as its action is ongoing and for a while
// after (see Retention).
type Answer struct {
	Request
	// Hash tells whether the request is the same in all else.
	Hash []byte
	// Action is the id of the action that was started.
	Action string
	// Body is what was answered.
	Body []byte
}

// Empty reports whether there is nothing to write.
func (w *Writes) Empty() bool { return len(w.Insert) == 0 && len(w.Update) == 0 && len(w.Runners) == 0 }

// A Retention says what is kept, and so what Purge deletes. Times are in milliseconds since 1970.
type Retention struct {
	Now int64
	// Tombstones, up to Limit of them, are deleted that were last updated before Before, and those
	// that are dated after Future: a clock has jumped.
	Before, Future int64
	Limit          int
	// Answers whose action is ongoing are noted to be so now, if that was last noted before Noted.
	// Those that were noted to be so before Answered for the last time are deleted.
	Noted, Answered int64
}

// A Claim says that an action holds a key.
type Claim struct{ Key, Action string }

// A RunnerRecord is what a store keeps of a runner.
type RunnerRecord struct {
	ID, Host string
	PID      int
	// BootID, PIDNamespace and StartTime tell the process from every other; empty
	// or 0 where the system doesn't say.
	BootID, PIDNamespace string
	StartTime            uint64
	// Work is what the runner recorded of the processes that do its work: text of kapi's own,
	// empty if there is nothing to record.
	Work string
	// Lease is how long it may stay silent.
	Lease time.Duration
	// Beat counts its renewals.
	Beat uint64
	// HeardAt is when it was last renewed, in milliseconds since 1970-01-01 UTC, for
	// display.
	HeardAt int64
}

// An Observation is what peers have watched of a runner's silence, handed from one that lives
// briefly to the next.
type Observation struct {
	// Runner is its id, and Beat what that was when it was last looked at.
	Runner string
	Beat   uint64
	// Clock names the clock of the two readings: those of another can't be compared.
	Clock string
	// Silent is for how long its renewals were watched standing still.
	Silent time.Duration
	// SinceBoot and Awake are when it was last looked at, by a clock that goes on while the
	// machine is suspended, and by one that doesn't.
	SinceBoot, Awake time.Duration
}
