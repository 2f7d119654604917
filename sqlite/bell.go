package sqlite

import (
	"encoding/binary"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi/internal/store"
)

// Each slot in PATH-runners begins with a word that its runner reads now and then. A commit that concerns another
// runner changes the word in that runner's slot, so nobody else is woken.

var _ store.Bell = (*Store)(nil)

// Rung implements store.Bell. Whether the files are in their places is seen at each renewal, which is soon enough.
func (s *Store) Rung(runner string) (mark uint64, ok bool) {
	f := s.now()
	if f == nil || f.path == "" {
		return 0, false
	}
	s.roster.mu.Lock()
	defer s.roster.mu.Unlock()
	o := &s.roster.own
	if o.number == 0 || o.lost || o.runner != runner || o.saved != f {
		return 0, false
	}
	var word [4]byte
	if _, err := o.in.file.ReadAt(word[:], o.number*slotSize); err != nil {
		return 0, false
	}
	return uint64(o.number)<<32 | uint64(binary.LittleEndian.Uint32(word[:])), true
}

// bells returns the places of those runners' slots, each once: a word that is written late, after that of a later
// commit, must not be one that the runner has seen already.
func bells(c *sqlite.Conn, runners []string) (places []place, err error) {
	for _, id := range slices.Compact(slices.Sorted(slices.Values(runners))) {
		err := each(c, selectBeat,
			func(stmt *sqlite.Stmt) { stmt.BindText(1, id) },
			func(stmt *sqlite.Stmt) { places = append(places, place{stmt.ColumnInt64(1), stmt.ColumnInt64(2)}) })
		if err != nil {
			return nil, err
		}
	}
	return places, nil
}

// ring changes the words in the slots at those places. No two commits of a history write the same word. If it
// fails, or a slot has just been given to another runner, that only costs a delay or a needless look.
func (r *roster) ring(f *file, places []place, seq uint64) {
	slots := r.look(f)
	defer slots.done()
	word := binary.LittleEndian.AppendUint32(nil, uint32(seq))
	for _, at := range places {
		if slots.has(at) {
			_, _ = slots.in.file.WriteAt(word, at.number*slotSize)
		}
	}
}
