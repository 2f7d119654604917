package sqlite

import (
	"testing"

	"github.com/kettubot/kapi/internal/store"
)

// Alive tells the same as Runners of a runner whose record has not changed, and that one is dead as soon as it is.
func TestAlive(t *testing.T) {
	path := newPath(t)
	s, other := openFor(t, path), openFor(t, path)
	mustRun(t, s, "r")
	mustRun(t, s, "r")
	killed, id := startRunner(t, path)
	var all []store.Monitored
	for _, id := range []string{"r", id} {
		all = append(all, store.Monitored{ID: id, Pulse: runnerOf(t, other, id).Pulse})
	}
	all = append(all, store.Monitored{ID: "never heard of", Pulse: all[0].Pulse}, store.Monitored{ID: "without a slot"})
	check := func(want ...bool) {
		t.Helper()
		other.Alive(all)
		for i, r := range all {
			if r.Held != want[i] {
				t.Errorf("%s: held %v, want %v", r.ID, r.Held, want[i])
			} else if r.Held && r.Beat != runnerOf(t, other, r.ID).Beat {
				t.Errorf("%s: beat %d, want %d", r.ID, r.Beat, runnerOf(t, other, r.ID).Beat)
			}
		}
	}
	check(true, true, false, false)
	mustRun(t, s, "r")
	_ = killed.cmd.Process.Kill()
	_ = killed.cmd.Wait()
	check(true, false, false, false)
}
