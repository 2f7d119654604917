package sqlite

import "github.com/kettubot/kapi/internal/store"

// A sight is what is seen of a runner beside its row.
type sight struct {
	found   bool // the slot is the runner's
	beat    uint64
	heard   int64
	lock    store.Lock
	working bool
}

// A look is one at the slots of runners. The roster's lock is held from the first call of see to done.
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

// see returns what is seen of one runner.
func (l *look) see(id string, at place) (s sight) {
	if at.number <= 0 || l.file == nil {
		return s
	}
	if !l.locked {
		l.mu.Lock()
		l.locked, l.in = true, l.opened(l.file, false)
		if l.in != nil && l.in.is != at.file && l.in.identify() != nil { // somebody has emptied it, and it was begun anew
			l.in = nil
		}
	}
	if l.in == nil || l.in.is == 0 || l.in.is != at.file {
		return s // the locks are on another file
	}
	there, ok := l.in.read(at.number)
	if !ok || there.runner != id {
		return s
	}
	s = sight{found: true, beat: there.beat, heard: there.heard}
	held, err := byteLocked(l.in.file, runnerLocks+at.number)
	switch own := &l.own; {
	case own.runner == id && own.number == at.number && own.in == l.in: // its lock doesn't show by the descriptor that has it
		s.lock = store.LockHeld
	case err != nil:
	case held:
		s.lock = store.LockHeld
	case !l.in.remote:
		s.lock = store.LockFree
	}
	s.working, _ = byteLocked(l.in.file, workLocks+at.number)
	return s
}

// forget wipes the slot of a runner whose row is deleted, so that another can have it, and that the runner, if it
// lives, has its row written again.
func (l *look) forget(id string, at place) {
	if l.see(id, at).found {
		_ = l.in.wipe(at.number)
	}
}
