package sqlite

import (
	"errors"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi/internal/store"
)

// A roster is what a store knows of its file of slots: its own runner's slot, and how others' are. Where
// there is none to be had (another system than Linux, a store in memory, a file system without such locks, a
// full disk) runners are renewed by commits, and nothing is proven by locks.
type roster struct {
	mu        sync.Mutex
	open      *slotFile // as it was last opened; nil: not yet
	own       ownSlot
	again     time.Time // when a slot is next looked for, after that failed
	departure store.Departure
}

// An ownSlot is that of the runner which is this very process.
type ownSlot struct {
	slot   // as it stands there
	in     *slotFile
	is     int64 // what tells that file
	number int64 // 0: it has none
	// lost: it isn't as this process has left it, so the next save looks for it anew.
	lost bool
	// row is what was last written of the runner to the database, in saved; nil if that isn't known.
	row   store.RunnerRecord
	saved *file
	// saving is set from when the row is written until the transaction ends.
	saving bool
	// owed are the beats of slots that it has lost: the row takes them over.
	owed    uint64
	vacated []lockedSlot // until the row no longer names them
}

// A lockedSlot is one on which this process has a lock.
type lockedSlot struct {
	in     *slotFile
	number int64
}

// A place is what a runner's row says of its slot.
type place struct{ number, file int64 }

// errLocked says that another has a lock there.
var errLocked = errors.New("is locked")

// begin forgets what a transaction has saved that was rolled back.
func (r *roster) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.own.saving = false
}

// committed takes note that what was saved is in the file's database.
func (r *roster) committed(f *file) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := &r.own
	if !o.saving {
		return
	}
	o.saving, o.saved, o.owed = false, f, 0
	for _, v := range o.vacated {
		if v != (lockedSlot{o.in, o.number}) { // it may have got it back
			_ = lockByte(v.in.file, runnerLocks+v.number, lockNone)
		}
		r.discard(v.in)
	}
	o.vacated = nil
}

// discard closes a file of slots that nothing is done with any more.
func (r *roster) discard(f *slotFile) {
	if f != nil && f != r.open && f != r.own.in {
		_ = f.file.Close()
	}
}

// save returns where the slot of a runner is that is about to be written to the database, and how many
// beats its row is to take over. A runner that is this process gets a slot if it has none. The write
// lock is held.
func (r *roster) save(f *file, c *sqlite.Conn, record store.RunnerRecord) (at place, owed uint64, err error) {
	if !haveSlots || !record.Own || f.path == "" || !fits(record.ID) {
		return place{}, 0, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	o := &r.own
	if o.runner == "" {
		o.runner = record.ID
	}
	if o.runner != record.ID {
		return place{}, 0, nil // one runner a process is enough
	}
	if o.number == 0 || o.lost || o.saved != f {
		if err := r.occupy(f, c); err != nil {
			return place{}, 0, err
		}
	}
	o.row, o.saved, o.saving = rowOf(record), nil, true
	if o.number != 0 {
		at = place{o.number, o.is}
	}
	return at, o.owed, nil
}

// rowOf leaves out of a record what a renewal changes.
func rowOf(r store.RunnerRecord) store.RunnerRecord {
	r.Beat, r.HeardAt = 0, 0
	return r
}

// occupy gives this process's runner its slot back, or another one. The error is that of the database.
func (r *roster) occupy(f *file, c *sqlite.Conn) error {
	o := &r.own
	if o.number != 0 && o.in.inPlace(f.path+runnersName) && o.in.begin() == nil {
		there, ok := o.in.read(o.number)
		if (!ok || there.runner == "" || there.runner == o.runner) && o.in.write(o.number, o.slot) == nil {
			o.is, o.lost = o.in.is, false // it was wiped, but the lock on it was held all the time
			return nil
		}
	}
	if o.number != 0 {
		o.vacated = append(o.vacated, lockedSlot{o.in, o.number})
		o.owed += o.beat
		o.beat, o.number, o.in, o.is, o.lost = 0, 0, nil, 0, false
	}
	if time.Now().Before(r.again) {
		return nil
	}
	const pause = time.Second
	r.again = time.Now().Add(pause)
	in := r.opened(f, true)
	if in == nil || in.begin() != nil {
		return nil
	}
	number, err := findSlot(in, c)
	if err != nil || number == 0 {
		return err
	}
	o.heard = time.Now().UnixMilli()
	if in.write(number, o.slot) != nil {
		_ = lockByte(in.file, runnerLocks+number, lockNone)
		return nil
	}
	o.in, o.is, o.number, r.again = in, in.is, number, time.Time{}
	return nil
}

// findSlot locks a slot that is nobody's, and returns its number: one of those that are there, or the next. 0:
// none was found.
func findSlot(in *slotFile, c *sqlite.Conn) (int64, error) {
	const probes, more = 8, 16
	count, err := in.count()
	if err != nil {
		return 0, nil //nolint:nilerror // it does without
	}
	for range min(probes, count) {
		number := somewhere(count)
		free, err := takeSlot(in, c, number)
		if err != nil || free {
			return number, err
		}
	}
	for number := count + 1; number <= count+more; number++ {
		free, err := takeSlot(in, c, number)
		if err != nil || free {
			return number, err
		}
	}
	return 0, nil
}

// takeSlot locks a slot if it is nobody's. It doesn't touch the lock of one that a row may name, as whoever looks
// just then would take the runner for alive.
func takeSlot(in *slotFile, c *sqlite.Conn, number int64) (free bool, err error) {
	before, ok := in.read(number)
	if !ok {
		return false, nil
	}
	known := false
	if before.runner != "" {
		if err := each(c, selectBeat, func(stmt *sqlite.Stmt) { stmt.BindText(1, before.runner) }, func(*sqlite.Stmt) { known = true }); err != nil {
			return false, err
		}
	}
	// The commands of a runner that is forgotten may still have their lock.
	if working, err := byteLocked(in.file, workLocks+number); known || working || err != nil {
		return false, nil //nolint:nilerror // it does without
	}
	if lockByte(in.file, runnerLocks+number, lockAlone) != nil {
		return false, nil
	}
	if now, ok := in.read(number); !ok || now.runner != before.runner {
		_ = lockByte(in.file, runnerLocks+number, lockNone)
		return false, nil
	}
	return true, nil
}

// opened returns the file of slots that lies beside the store, nil if there is none. It is made if create
// is true.
func (r *roster) opened(f *file, create bool) *slotFile {
	if !haveSlots || f.path == "" {
		return nil
	}
	path := f.path + runnersName
	if r.open != nil && r.open.inPlace(path) {
		return r.open
	}
	if _, err := factsOf(path); err != nil && (!create || !isGone(err)) {
		return nil
	}
	now, err := openSlots(f.path, f.facts, f.rights)
	if err != nil {
		return nil
	}
	before := r.open
	r.open = now
	r.discard(before)
	return now
}

// renew renews this process's runner in its slot. It is false if the database must be told: the runner has
// no slot, or more is new than that it lives.
func (s *Store) renewInSlot(record store.RunnerRecord) bool {
	f := s.now()
	if !record.Own || f == nil || f.path == "" || !f.inPlace(s.name) {
		return false
	}
	s.roster.mu.Lock()
	defer s.roster.mu.Unlock()
	o := &s.roster.own
	if o.number == 0 || o.lost || o.saved != f || o.row != rowOf(record) {
		return false
	}
	there, ok := o.in.read(o.number)
	if !ok || there.runner != o.runner || !o.in.inPlace(f.path+runnersName) || o.in.identify() != nil || o.in.is != o.is {
		o.lost = true // somebody has removed the file, or the runner's row
		return false
	}
	next := o.slot
	next.beat, next.heard = next.beat+1, time.Now().UnixMilli()
	if o.in.renew(o.number, next) != nil {
		return false
	}
	o.slot = next
	return true
}
