package linear

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// length is how long faults are injected into a history.
const length = 1500 * time.Millisecond

// A round is one history in the making.
type round struct {
	t        *testing.T
	random   *rand.Rand
	store    backend
	recorder recorder
	fences   string
	bug      bug
	slots    [peers]*process
	launched int
	plan     []fault
	log      []string
}

// A fault is something that happens at a time chosen beforehand, from the seed.
type fault struct {
	at time.Duration
	do func()
}

func (r *round) launch(slot int) {
	r.launched++
	r.slots[slot] = launch(r.t, &r.recorder, slot, settings{
		Store: r.store.dsn(slot), Schema: r.store.schema(), Name: fmt.Sprintf("p%d.%d", slot, r.launched), Seed: r.random.Uint64(), Fences: r.fences, Bug: r.bug,
	})
}

func (r *round) note(format string, args ...any) {
	r.log = append(r.log, fmt.Sprintf("%d "+format, append([]any{now()}, args...)...))
}

// at plans something for a moment of the history.
func (r *round) at(when time.Duration, do func()) { r.plan = append(r.plan, fault{when, do}) }

// between returns a random duration in [low, high).
func (r *round) between(low, high time.Duration) time.Duration {
	return low + time.Duration(r.random.Int64N(int64(high-low)))
}

func (r *round) when() time.Duration { return r.between(0, length) }

// troublePeers plans to kill and restart peers, and to freeze and thaw them.
func (r *round) troublePeers(kills, freezes int) {
	for range kills {
		slot, when := r.random.IntN(peers), r.when()
		r.at(when, func() {
			r.note("kill %d", slot)
			p := r.slots[slot]
			r.recorder.kills(p.account)
			p.kill()
			r.launch(slot) // a new peer in the same slot
		})
	}
	for range freezes {
		slot, when := r.random.IntN(peers), r.when()
		var p *process
		r.at(when, func() {
			p = r.slots[slot]
			r.note("freeze %d", slot)
			p.signal(r.t, syscall.SIGSTOP)
		})
		r.at(when+r.between(50*time.Millisecond, 2*lease), func() {
			if p == r.slots[slot] { // otherwise it was killed
				r.note("thaw %d", slot)
				p.signal(r.t, syscall.SIGCONT)
			}
		})
	}
}

// awaitPeers waits until each peer has begun to make calls.
func (r *round) awaitPeers() {
	r.t.Helper()
	deadline := time.After(patience)
	for slot, p := range r.slots {
		select {
		case <-p.account.begun:
		case <-deadline:
			r.t.Fatalf("peer %d made no calls within %v", slot, patience)
		}
	}
}

// run makes a history, and returns it with its model.
func run(t *testing.T, store backend, seed uint64, b bug) (*round, *model, []operation) {
	t.Helper()
	r := &round{
		t: t, random: rand.New(rand.NewPCG(seed, 0)), store: store, bug: b,
		fences: filepath.Join(t.TempDir(), fmt.Sprintf("fences-%d", seed)),
	}
	store.trouble(r)
	slices.SortStableFunc(r.plan, func(a, b fault) int { return cmp.Compare(a.at, b.at) })
	for slot := range r.slots {
		r.launch(slot)
	}
	t.Cleanup(func() {
		for _, p := range r.slots {
			p.kill()
		}
	})
	r.awaitPeers()
	began := time.Now()
	for _, f := range r.plan {
		<-time.After(time.Until(began.Add(f.at)))
		f.do()
	}
	<-time.After(time.Until(began.Add(length)))
	for _, p := range r.slots {
		r.recorder.leaves(p.account)
		p.leave(t)
	}
	closing := operation{from: now()}
	closing.Seen = store.read(t)
	closing.to = now()
	all := r.recorder.operations(closing)
	for _, fault := range r.recorder.faults() {
		t.Error(fault)
	}
	return r, newModel(keys, all), all
}
