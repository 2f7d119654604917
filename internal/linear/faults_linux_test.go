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

// length is how long faults are injected into a history of starts and reports.
const length = 1500 * time.Millisecond

// A round is one history in the making.
type round struct {
	t        *testing.T
	random   *rand.Rand
	store    backend
	recorder recorder
	fences   string
	length   time.Duration
	settings []settings // of the peer in each slot; launch adds the rest
	slots    []*process
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
	s := r.settings[slot]
	s.Store, s.Schema, s.Fences = r.store.dsn(slot), r.store.schema(), r.fences
	s.Name, s.Seed = fmt.Sprintf("p%d.%d", slot, r.launched), r.random.Uint64()
	if s.Role != reports {
		s.Seed = s.Seed&^1 | uint64(slot&1) // it says whether the peer stays light
	}
	r.slots[slot] = launch(r.t, &r.recorder, slot, s)
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

func (r *round) when() time.Duration { return r.between(0, r.length) }

func (r *round) slot() int { return r.random.IntN(len(r.slots)) }

// troublePeers plans to kill and restart peers, and to freeze and thaw them.
func (r *round) troublePeers(kills, freezes int) {
	for range kills {
		r.kill(r.slot(), r.when())
	}
	for range freezes {
		r.freeze(r.slot(), r.when(), r.between(50*time.Millisecond, 2*lease))
	}
}

// kill plans to kill a peer, and to start a new one in the same slot.
func (r *round) kill(slot int, when time.Duration) {
	r.at(when, func() {
		r.note("kill %d", slot)
		p := r.slots[slot]
		r.recorder.kills(p.account)
		p.kill()
		r.launch(slot)
	})
}

// freeze plans to stop a peer with SIGSTOP for some time.
func (r *round) freeze(slot int, when, long time.Duration) {
	var p *process
	r.at(when, func() {
		p = r.slots[slot]
		r.note("freeze %d", slot)
		p.signal(r.t, syscall.SIGSTOP)
	})
	r.at(when+long, func() {
		if p == r.slots[slot] { // otherwise it was killed
			r.note("thaw %d", slot)
			p.signal(r.t, syscall.SIGCONT)
		}
	})
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

// newRound returns a history to be made by peers with these settings.
func newRound(t *testing.T, store backend, seed uint64, all []settings) *round {
	t.Helper()
	return &round{
		t: t, random: rand.New(rand.NewPCG(seed, 0)), store: store, length: length, settings: all, slots: make([]*process, len(all)),
		fences: filepath.Join(t.TempDir(), fmt.Sprintf("fences-%d", seed)),
	}
}

// run makes a history of starts and reports, and returns it with its model.
func run(t *testing.T, store backend, seed uint64, b bug) (*round, *model, []operation) {
	t.Helper()
	r := newRound(t, store, seed, slices.Repeat([]settings{{Bug: b}}, peers))
	store.trouble(r)
	all := r.recorder.operations(r.play())
	return r, newModel(keys, all), all
}

// play makes the history, and returns the final reading of the store.
func (r *round) play() (closing operation) {
	t := r.t
	t.Helper()
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
	<-time.After(time.Until(began.Add(r.length)))
	for _, p := range r.slots {
		r.leave(p)
	}
	closing.from = now()
	closing.Seen = r.store.read(t)
	closing.to = now()
	for _, fault := range r.recorder.faults() {
		t.Error(fault)
	}
	return closing
}

// leave has a peer end by itself.
func (r *round) leave(p *process) {
	r.recorder.leaves(p.account)
	p.leave(r.t)
	r.recorder.hasLeft(p.account)
}
