package sqlite

import (
	"errors"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi/internal/store"
)

// A roster gives a store access to its file of slots: to the slot of this process's runner, and to those of
// others. If there is no such file (another system than Linux, a store in memory, a file system without
// these locks, a full disk), runners are renewed by commits, and locks prove nothing.
type roster struct {
	mu        sync.Mutex
	open      *slotFile // the file that was opened last; nil before
	own       ownSlot
	again     time.Time // when to look for a slot again, after an attempt
	departure store.Departure
}

// An ownSlot is the slot of this process's runner.
type ownSlot struct {
	slot   // its content
	in     *slotFile
	is     int64 // the identity of that file
	number int64 // 0 if the runner has no slot
	// lost is true if the slot isn't as this process left it. The next save then looks for a slot again.
	lost bool
	// row is what was last written to the runner's row, and saved the file that has it; nil if unknown.
	row   store.RunnerRecord
	saved *file
	// saving is true from when the row is written until the transaction ends.
	saving bool
	// owed is the number of beats in slots that were lost, to be added to the row.
	owed    uint64
	vacated []lockedSlot // lost slots, still locked until the row no longer names them
}

// A lockedSlot is a slot on which this process has a lock.
type lockedSlot struct {
	in     *slotFile
	number int64
}

// A place is where a runner's slot is, according to its row: its number, and the identity of its file.
type place struct{ number, file int64 }

// errLocked is returned when another open file description has a lock there.
var errLocked = errors.New("is locked")

// begin is called when a transaction begins. It forgets what the last one saved, if it was rolled back.
func (r *roster) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.own.saving = false
}

// committed records that what was saved is in the database, and releases the slots that the row no longer
// names.
func (r *roster) committed(f *file) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := &r.own
	if !o.saving {
		return
	}
	o.saving, o.saved, o.owed = false, f, 0
	for _, v := range o.vacated {
		if v != (lockedSlot{o.in, o.number}) { // the runner may have got the same slot again
			_ = lockByte(v.in.file, runnerLocks+v.number, lockNone)
		}
		r.discard(v.in)
	}
	o.vacated = nil
}

// discard closes a file of slots that is no longer used.
func (r *roster) discard(f *slotFile) {
	if f != nil && f != r.open && f != r.own.in {
		_ = f.file.Close()
	}
}

// save returns what the row of a runner must say of its slot, and how many beats must be added to the row.
// If the runner is this process's and has no slot, save looks for one. The caller holds the write lock and
// is about to write the row.
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
		return place{}, 0, nil // only one runner of a process has a slot
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

// rowOf returns the record without what a renewal changes.
func rowOf(r store.RunnerRecord) store.RunnerRecord {
	r.Beat, r.HeardAt = 0, 0
	return r
}

// occupy restores the slot of this process's runner, or looks for another one. It only returns errors of
// the database; without a slot, o.number is 0.
func (r *roster) occupy(f *file, c *sqlite.Conn) error {
	o := &r.own
	if o.number != 0 && o.in.inPlace(f.path+runnersName) && o.in.begin() == nil {
		there, ok := o.in.read(o.number)
		if (!ok || there.runner == "" || there.runner == o.runner) && o.in.write(o.number, o.slot) == nil {
			o.is, o.lost = o.in.is, false // it may have been wiped, but its lock was held all the time
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

// findSlot locks a free slot, an existing one or one past the end, and returns its number. It returns 0 if
// it found none.
func findSlot(in *slotFile, c *sqlite.Conn) (int64, error) {
	const probes, more = 8, 16
	count, err := in.count()
	if err != nil {
		return 0, nil //nolint:nilerror // the runner does without a slot
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

// takeSlot locks a slot if it is free. It doesn't lock one that a row may name, not even for a moment: a
// peer that looked at that moment would believe that the runner is alive.
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
	// The commands of a runner whose row was deleted may still hold their lock.
	if working, err := byteLocked(in.file, workLocks+number); known || working || err != nil {
		return false, nil //nolint:nilerror // the runner does without this slot
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

// opened returns the file of slots beside the store, nil if there is none or it can't be opened. If create
// is true, it creates a missing one.
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

// renewInSlot renews this process's runner in its slot. It returns false if a commit is needed instead,
// because the runner has no slot or something else in its record has changed.
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
		o.lost = true // somebody has removed the file, or the purge has deleted the runner's row
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
