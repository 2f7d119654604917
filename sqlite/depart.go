package sqlite

import (
	"os"

	"github.com/kettubot/kapi/internal/store"
)

// LockWork returns a file, open for reading only, that holds a lock of this process's runner until every process that
// has inherited it has closed it or ended: for the commands which do its work, so that others see that
// it goes on, whatever becomes of the runner. It is nil if the runner has no slot. The caller closes it.
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

// close gives the slot up, as far as nothing is left that is judged by it.
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
