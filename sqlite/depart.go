package sqlite

import (
	"os"

	"github.com/kettubot/kapi/internal/store"
)

// LockWork returns a file, open for reading only, for the commands that do the runner's work to inherit.
// It holds a lock until every process that has it open has closed it or ended, so other processes see
// that the work continues even if the runner dies. LockWork returns nil if the runner has no slot. The
// caller must close the file.
func (s *Store) LockWork() *os.File {
	file := s.now()
	s.roster.mu.Lock()
	defer s.roster.mu.Unlock()
	o := &s.roster.own
	if file == nil || o.number == 0 {
		return nil
	}
	var f *os.File
	err := file.rights.do(func() (err error) {
		f, err = o.in.openShared(file.path + runnersName)
		return err
	})
	if err != nil {
		return nil
	}
	if lockByte(f, workLocks+o.number, lockShares) != nil {
		_ = f.Close()
		return nil
	}
	return f
}

// Depart implements store.Roster.
func (s *Store) Depart(how store.Departure) {
	s.roster.mu.Lock()
	defer s.roster.mu.Unlock()
	s.roster.departure = how
}

// close closes the files of slots. It wipes the slot only if the runner has settled all its records, and
// keeps the runner's lock if its work continues in this process.
func (r *roster) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := &r.own
	if o.number != 0 {
		there, ok := o.in.read(o.number)
		switch {
		case r.departure == store.DepartWorking:
			keepForGood(o.in.file)
		case r.departure == store.DepartSettled && ok && there.runner == o.runner:
			_ = o.in.wipe(o.number)
		}
	}
	files := []*slotFile{r.open}
	if o.in != r.open {
		files = append(files, o.in)
	}
	for _, v := range o.vacated {
		if v.in != r.open && v.in != o.in {
			files = append(files, v.in)
		}
	}
	for _, f := range files {
		if f != nil {
			_ = f.file.Close()
		}
	}
	r.open, r.own = nil, ownSlot{}
}
