package linear

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/kettubot/kapi/internal/pgtest"
)

const (
	// takers offer the operations. Two other peers start them: one stays light unless it is the keeper, one does not.
	takers   = 5
	starters = 2
)

// carriers returns the settings of the peers, of which so many offer the operations. Every second one is on a host of its
// own, if there are hosts.
func carriers(offering int, hosts bool, b bug) []settings {
	all := make([]settings, takers+starters)
	for i := range all {
		all[i] = settings{Bug: b, Role: starts, Host: hosts && i%2 == 1}
		if i < offering {
			all[i].Role = takes
		}
	}
	return all
}

// deploy plans that a peer leaves, and a new one comes.
func (r *round) deploy(slot int, when time.Duration) {
	r.at(when, func() {
		r.note("deploy %d", slot)
		r.leave(r.slots[slot])
		r.launch(slot)
	})
}

// troubleRunners plans kills, deploys and, for so long, freezes of the peers that offer the operations.
func (r *round) troubleRunners(kills, deploys, freezes int, low, high time.Duration) {
	runner := r.random.Perm(takers)
	for i := range freezes { // of different peers than the deploys, as a frozen one doesn't leave
		r.freeze(runner[i], r.between(r.length/10, r.length/4), r.between(low, high))
	}
	for range kills {
		r.kill(r.random.IntN(takers), r.between(r.length/10, r.length*3/4))
	}
	for i := range deploys {
		r.deploy(runner[freezes+i], r.between(r.length/10, r.length))
	}
}

// TestTakeoverSQLite makes histories of operations whose runners are killed, frozen and deployed anew. A frozen one is
// provably alive, so it keeps its actions.
func TestTakeoverSQLite(t *testing.T) {
	for range histories(2) {
		t.Run("history", func(t *testing.T) {
			t.Parallel()
			seed := newSeed(t, 0)
			r := newRound(t, file{filepath.Join(t.TempDir(), "kapi.db")}, seed, carriers(takers, false, noBug))
			r.length = 3 * time.Second
			r.troubleRunners(4, 2, 2, 50*time.Millisecond, 2*lease)
			r.judgeTakeovers(seed, false)
		})
	}
}

// TestTakeoverPostgreSQL does the same on several hosts. A frozen runner loses its actions, and comes back.
func TestTakeoverPostgreSQL(t *testing.T) {
	server := newServer(t)
	for range histories(4) {
		t.Run("history", func(t *testing.T) {
			t.Parallel()
			seed := newSeed(t, 0)
			d := newDatabase(t, server, seed)
			r := newRound(t, d, seed, carriers(takers, true, noBug))
			r.length = 5 * time.Second
			r.troubleRunners(2, 1, 2, giveUpSoon+time.Second, giveUpSoon+2500*time.Millisecond)
			for range 3 {
				d.cut(r)
			}
			d.hang(r)
			r.judgeTakeovers(seed, true)
		})
	}
}

func (r *round) judgeTakeovers(seed uint64, silence bool) {
	r.t.Helper()
	all := r.recorder.takeovers(r.play(), silence)
	r.judge(takeoverRules(all), all, seed)
}

// takeoverBugsAreFound checks that bugs of takeovers are found: a runner is frozen, comes back after another one has taken
// its actions over, and gets them back when that is deployed.
func takeoverBugsAreFound(t *testing.T, server *pgtest.Server) {
	for _, b := range []bug{takeoverUnseen, ownCheckpoints} {
		t.Run(string(b), func(t *testing.T) {
			t.Parallel()
			for try := range tries {
				seed := newSeed(t, 0)
				r := newRound(t, newDatabase(t, server, seed), seed, carriers(2, true, b))
				r.length = 5 * time.Second
				thaw := time.Second/2 + giveUpSoon + 2*time.Second
				r.freeze(0, time.Second/2, thaw-time.Second/2)
				r.deploy(1, thaw+200*time.Millisecond)
				all := r.recorder.takeovers(r.play(), true)
				result, _ := check(takeoverRules(all), all)
				t.Logf("history %d is %s: %s", try, result, summary(all))
				if result == porcupine.Illegal {
					return
				}
			}
			t.Errorf("no bug found in %d histories", tries)
		})
	}
}
