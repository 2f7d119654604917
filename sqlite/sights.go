package sqlite

import "github.com/kettubot/kapi/internal/store"

// A sight is what a runner's slot and its locks show.
type sight struct {
	found   bool // the slot belongs to the runner
	beat    uint64
	heard   int64
	lock    store.Lock
	working bool
}

// A look is for reading the slots of several runners. It holds the roster's mutex from the first call of
// see until done is called.
type look struct {
	*roster
	file   *file
	in     *slotFile
	locked bool
}

func (r *roster) look(f *file) *look { return &look{roster: r, file: f} }

func (l *look) done() {
	if l.locked {
		l.mu.Unlock()
	}
}

// has reports whether there is such a place in the file of slots. It opens the file if need be.
func (l *look) has(at place) bool {
	if at.number <= 0 || l.file == nil {
		return false
	}
	if !l.locked {
		l.mu.Lock()
		l.locked, l.in = true, l.opened(l.file, false)
		if l.in != nil && l.in.is != at.file && l.in.identify() != nil { // it may have been emptied and got a new header
			l.in = nil
		}
	}
	return l.in != nil && l.in.is != 0 && l.in.is == at.file // otherwise the row is about another file
}

// see returns what the slot at a place shows of a runner: nothing if the slot is not the runner's.
func (l *look) see(id string, at place) (s sight) {
	if !l.has(at) {
		return s
	}
	there, ok := l.in.read(at.number)
	if !ok || there.runner != id {
		return s
	}
	s = sight{found: true, beat: there.beat, heard: there.heard}
	held, err := byteLocked(l.in.file, runnerLocks+at.number)
	switch own := &l.own; {
	case own.runner == id && own.number == at.number && own.in == l.in: // F_OFD_GETLK doesn't show the locks of its own descriptor
		s.lock = store.LockHeld
	case err != nil:
	case held:
		s.lock = store.LockHeld
	case !l.in.remote:
		s.lock = store.LockFree
	}
	if s.lock != store.LockHeld { // in a crowd, each of these questions takes time in proportion to the crowd
		s.working, _ = byteLocked(l.in.file, workLocks+at.number)
	}
	return s
}

// Alive implements store.Monitor.
func (s *Store) Alive(runners []store.Monitored) {
	slots := s.roster.look(s.now())
	defer slots.done()
	for i := range runners {
		r := &runners[i]
		seen := slots.see(r.ID, place{r.Pulse.Slot, r.Pulse.File})
		r.Held, r.Beat = seen.lock == store.LockHeld, r.Pulse.Beat+seen.beat
	}
}

// forget wipes the slot of a runner whose row is deleted. Then another runner can get the slot. If the
// forgotten runner is alive after all, it notices that, and writes its row again.
func (l *look) forget(id string, at place) {
	if l.see(id, at).found {
		_ = l.in.wipe(at.number)
	}
}
