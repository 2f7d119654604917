package store

import "context"

// A Store keeps actions durably, in a SQLite file or in a database that several machines share. Users
// pass one to Open and never call it. This comment is the contract for implementers; internal/storetest
// checks it.
//
//   - All methods may be called concurrently. They return when their context ends.
//   - A store in which writers wait in turn calls Moved with the context of a waiting call whenever
//     another writer has had its turn. So being one of many never uses up the time that a call has. Such
//     a store must serve writers in the order in which they came, or a call might wait forever.
//   - Commit takes the store's only write lock before it reads anything, and holds it
//     until the transaction has ended, so that changes become visible to every
//     reader in the order of seq.
//   - When Commit returns nil, the transaction is on disk (fsync). When it returns an
//     error, nothing of it was kept. If the connection broke during the commit, it looks up the
//     outcome for as long as its context allows, and returns an error that wraps
//     ErrOutcomeUnknown if it could not.
//   - Two actions never hold one key: a uniqueness constraint in the database ensures that, and
//     ErrKeyTaken is returned for a violation. A store whose users may record starts in
//     transactions of their own returns a *BusyError, without waiting, if such a transaction is
//     open and claims a key.
//   - If the store can't be reached, read or written, methods return an error that
//     wraps ErrUnavailable and says why.
//   - A store makes no decisions: it loads, calls, writes.
type Store interface {
	// Snapshot returns the ongoing records, in any order, and the head that they belong to.
	Snapshot(ctx context.Context) (Snapshot, error)

	// Some is Snapshot, but returns only those ongoing records that ids names. ids has no duplicates.
	Some(ctx context.Context, ids []string) (Snapshot, error)

	// Feed returns the records whose seq is above since, in ascending order, up to the head, tombstones
	// included. It is cheap if there are none. It returns ErrBehind if since is below the purged seq.
	Feed(ctx context.Context, since uint64) (Page, error)

	// Commit runs one write transaction: it reads the feed since b.Since (or what b.Light says instead)
	// and the records named in b.Find, passes them to decide, writes what decide returns, and commits.
	// If decide fails or returns nothing to write, the transaction is rolled back. decide's error is
	// returned unchanged. decide is called at most once and must not call the store.
	Commit(ctx context.Context, b Batch, decide func(Loaded) (Writes, error)) error

	// Renew records that the runner is alive: it adds the runner if it is new, increments its Beat and
	// sets its HeardAt. It takes no seq.
	Renew(ctx context.Context, r RunnerRecord) error

	// Runners returns those of the named runners that exist, in any order. ids has no duplicates.
	Runners(ctx context.Context, ids []string) ([]RunnerRecord, error)

	// Observed returns the last observations of the named runners by the named clock (see
	// Observation.Clock), in any order. runners has no duplicates.
	Observed(ctx context.Context, clock string, runners []string) ([]Observation, error)

	// Observe replaces the observations of these runners by these clocks. It takes no seq. It need not
	// be durable: after a crash of the machine, observations are of no use.
	Observe(ctx context.Context, seen []Observation) error

	// NoteAsked appends notes to RunnerRecord.Asked, of which the last MaxAsked bytes are kept. It takes no seq. It need
	// not be durable: a crash of the machine ends the processes, too.
	NoteAsked(ctx context.Context, notes []Asked) error

	// Purge deletes what a Retention says and raises the purged seq, in the same transaction, to the
	// highest seq of the tombstones that it deleted. It also deletes runners that no record names (see
	// Record.NamedRunner) and that were not heard since r.Before, with their observations. It returns how
	// many tombstones it deleted.
	Purge(ctx context.Context, r Retention) (int, error)

	// Saved returns what is saved for an action (see Saved), in any order.
	Saved(ctx context.Context, action string) ([]Saved, error)

	// Offer replaces what the peer with this runner offers, which has been renewed before. If there is nothing, its
	// offers are deleted. It takes no seq, wakes nobody and need not be durable: it is repeated.
	Offer(ctx context.Context, runner string, offers []OfferRecord) error

	// Offers returns all operations that are or were offered, in alphabetical order of their names.
	Offers(ctx context.Context) ([]OfferRecord, error)

	// Listen calls wake when another peer (or this one) may have committed, until ctx ends. A missed
	// call costs a delay, never an update: peers also poll.
	Listen(ctx context.Context, wake func()) error

	// Close releases what the store holds. No method is called after it.
	Close() error
}

// A Head says how far a store's history has come.
type Head struct {
	// Epoch is the random id of the history. It changes when the store is restored.
	Epoch string
	// Seq is the number of the latest change.
	Seq uint64
	// Purged is the highest seq of a deleted tombstone: a reader that has seen less may have missed an
	// ending.
	Purged uint64
}

// Ahead is how far seq jumps when a new epoch begins, so that fences keep growing although changes may
// have been lost.
const Ahead = 1 << 20

// A Snapshot is everything that is ongoing, or the part of it that was asked for.
type Snapshot struct {
	Head
	Records []Record
	// OneMachine is true if the store can't be shared by several machines, so that
	// a runner of an earlier boot can be proven dead.
	OneMachine bool
	// Secret is a random key of at least 32 bytes. It belongs to the store, so every peer gets the
	// same one.
	Secret []byte
}

// A Page is a part of the feed.
type Page struct {
	Head
	// Records are in ascending order of seq, each once, with its latest seq.
	Records []Record
	// Recorded are the ids of recorded starts (see RecordedStart) that are not adopted yet. The
	// first few are enough.
	Recorded []string
}

// A Batch says what a write transaction needs to read.
type Batch struct {
	// Since is the seq that the peer's view has reached.
	Since uint64
	// Light is set by a peer that has no view. Then the transaction doesn't read the feed. It reads the
	// head, the records in Find, and it looks up Keys.
	Light bool
	// Keys are the keys that a light batch looks up: the record that holds each, and the records that wait
	// for it. The other keys for which those records wait are looked up, too.
	Keys []string
	// Find names records to load whatever their seq, tombstones included.
	Find []string
	// Runners names runners whose Beat is wanted.
	Runners []string
	// Marks names actions whose CheckpointMark is wanted.
	Marks []string
	// Requests names requests whose answers are wanted.
	Requests []Request
	// Nudges counts the changes for which Loaded.Starts must be complete (see RecordedStart). If it is 0,
	// Loaded.Starts may lack starts that were recorded a moment ago.
	Nudges int
	// Again, unless nil, returns the batch as it is now: more changes may be waiting, and the view may
	// have advanced. A store best calls it once it has the write lock, for which it may have waited:
	// either before it reads, or afterwards if it then reads what else is needed. Again may be called
	// any number of times, but only within Commit and before decide.
	Again func() Batch
}

// Loaded is what a write transaction has read.
type Loaded struct {
	Page
	// Found has the records in Batch.Find that exist; for a light batch, all records that were read. It has
	// no duplicates.
	Found []Record
	// Held maps each key that a light batch looked up to the id of the action that holds it, "" if none does.
	Held map[string]string
	// NoQueue may be set for a light batch if no record waits for a key, in the whole store. Then nobody need
	// look up keys only to find out who waits for them.
	NoQueue bool
	// Beats has the Beat of each of Batch.Runners that exists.
	Beats map[string]uint64
	// Marks has those of Batch.Marks that have any checkpoints.
	Marks map[string]CheckpointMark
	// Answers has the answers to those of Batch.Requests that were answered.
	Answers []Answer
	// Starts are the recorded starts that are not adopted yet.
	Starts []RecordedStart
	// NoStarts, unless nil, is the error for every start: a newer kapi has changed the store, so that
	// this version may still report on what it runs, but not start anything. It wraps ErrUnavailable.
	NoStarts error
}

// Writes is what a write transaction writes.
type Writes struct {
	// Head is the seq of the last of Insert and Update.
	Head uint64
	// Insert and Update are complete records, each with its new seq.
	Insert, Update []Record
	// Free are keys that are no longer held; they are freed before Claim is written.
	Free []string
	// Claim are keys that an action now holds.
	Claim []Claim
	// Runners are renewed (see Store.Renew) in the same transaction.
	Runners []RunnerRecord
	// Answers are answers to keep.
	Answers []Answer
	// Saved are written, and Moves made before that. The former Saved of the actions in Disposed are deleted after the
	// moves, with their marks. Other peers are not woken for these alone, and need not notice them.
	Saved    []Saved
	Moves    []Move
	Disposed []string
	// Wake are the ids of other peers' runners that must learn of the transaction soon (see Bell). It may have
	// duplicates.
	Wake []string
	// Adopted are the ids of recorded starts to delete, because they are in Insert now. Their keys are
	// held already.
	Adopted []string
}

// A Request is a start that its sender may repeat without starting twice.
type Request struct {
	// By is the sender, and Key the Idempotency-Key.
	By, Key string
}

// An Answer is the answer to a Request. It is kept while its action is ongoing and for some time after
// (see Retention).
type Answer struct {
	Request
	// Hash is a hash of the request: with the same key but another hash, it is a different request.
	Hash []byte
	// Action is the id of the started action.
	Action string
	// Body is the body of the answer.
	Body []byte
}

// Empty reports whether there is nothing to write.
func (w *Writes) Empty() bool {
	return len(w.Insert) == 0 && len(w.Update) == 0 && len(w.Runners) == 0 && len(w.Saved) == 0
}

// A Retention says what Purge deletes. Times are in milliseconds since 1970.
type Retention struct {
	Now int64
	// Up to Limit tombstones are deleted: those last updated before Before, and those dated after
	// Future, because a clock has jumped.
	Before, Future int64
	Limit          int
	// For each answer whose action is ongoing, Purge notes the time, unless the last note is from Noted or
	// later. It deletes answers whose last note is from before Answered.
	Noted, Answered int64
	// Operations last offered before Offered, by no runner that is still there, are deleted.
	Offered int64
}

// A Claim says that an action holds a key.
type Claim struct{ Key, Action string }
