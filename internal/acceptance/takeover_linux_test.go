package acceptance

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// A relay is several processes that carry actions of the operation "copy" to their end, while they are killed.
type relay struct {
	t        *testing.T
	place    string // the store
	witness  string // a file
	gate     string // see copying
	actions  int    // how many will be started
	takers   []*process
	starters []*process
	watcher  *peer.Peer
	feed     *peer.Watch
	ids      []string
	progress map[string]float64
	done     map[string]bool
}

func newRelay(t *testing.T, place, gate string, actions, takers, starters int) *relay {
	r := &relay{
		t: t, place: place, witness: filepath.Join(t.TempDir(), "witness"), gate: gate, actions: actions,
		takers: make([]*process, takers), starters: make([]*process, starters),
		progress: map[string]float64{}, done: map[string]bool{},
	}
	for i := range r.takers {
		r.takers[i] = r.taker()
	}
	for i := range r.starters {
		r.starters[i] = role(t, "starter", []string{place})
	}
	r.watcher = openPeer(t, place)
	feed, err := r.watcher.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(feed.Close)
	r.feed = feed
	return r
}

// taker starts a process that offers the operation.
func (r *relay) taker() *process {
	r.t.Helper()
	p := role(r.t, "taker", []string{r.place, r.witness, r.gate})
	if line := p.line(); line != "offers" {
		r.t.Fatalf("a taker said %q", line)
	}
	return p
}

// start starts an action at a starter.
func (r *relay) start() {
	r.t.Helper()
	p := r.starters[rand.IntN(len(r.starters))]
	if _, err := io.WriteString(p.stdin, "start\n"); err != nil {
		r.t.Fatal(err)
	}
	r.ids = append(r.ids, p.line())
}

// follow reads the feed until all actions have completed. No action may fail, or go back.
func (r *relay) follow() {
	r.t.Helper()
	for {
		a, err := r.feed.Next(r.t.Context())
		if err != nil {
			r.t.Error(err)
			return
		}
		if a.Status == kapi.StatusFailed || a.Status == kapi.StatusAborted {
			r.t.Errorf("action %s has failed: %s", a.ID, a.State)
		}
		if a.Progress != nil {
			if *a.Progress < r.progress[a.ID] {
				r.t.Errorf("the progress of %s went back from %v to %v", a.ID, r.progress[a.ID], *a.Progress)
			}
			r.progress[a.ID] = *a.Progress
		}
		if !a.Status.Ongoing() {
			r.done[a.ID] = true
		}
		if len(r.done) == r.actions {
			return
		}
	}
}

// deeds returns the lines of the witness. A process may have been killed within its last line.
func (r *relay) deeds() (all []deed) {
	r.t.Helper()
	f, err := os.Open(r.witness)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var d deed
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
			r.t.Fatalf("the witness has %q: %v", lines.Bytes(), err)
		}
		all = append(all, d)
	}
	return all
}

// A trace is what the witness says of an action so far.
type trace struct {
	fence        uint64
	last, kept   int // items
	attempt, ran int
}

// check checks what the witness says: fences grow, so no two runners have worked at one time; no checkpoint is lost; no
// item is left out, and none comes again except the one that was in hand when its runner died.
func (r *relay) check() (again int) {
	r.t.Helper()
	traces := map[string]*trace{}
	for _, id := range r.ids {
		traces[id] = &trace{}
	}
	for _, d := range r.deeds() {
		t := traces[d.ID]
		if t == nil {
			r.t.Fatalf("nobody has started %s", d.ID)
		}
		switch {
		case d.Fence < t.fence:
			r.t.Errorf("%+v comes after fence %d: two runners at one time", d, t.fence)
		case d.What == begun && d.Fence == t.fence:
			r.t.Errorf("%+v: a second run with the same fence", d)
		case d.What == begun && d.N < t.kept:
			r.t.Errorf("%+v: the checkpoint after item %d was lost", d, t.kept)
		case d.What == begun && d.Attempt < t.attempt:
			r.t.Errorf("%+v comes after attempt %d", d, t.attempt)
		case d.What == begun && d.N < t.last:
			again++
		case d.What == worked && d.N != t.last+1, d.What == begun && d.N > t.last:
			r.t.Errorf("%+v comes after item %d", d, t.last)
		}
		t.fence, t.last, t.attempt = d.Fence, d.N, d.Attempt
		if d.What == kept || d.What == begun { // a runner that was killed right after a checkpoint hasn't noted it
			t.kept = d.N
		}
		if d.What == begun {
			t.ran++
		}
	}
	for id, t := range traces {
		if t.kept != copyItems {
			r.t.Errorf("action %s has come to item %d of %d", id, t.kept, copyItems)
		}
	}
	return again
}

// TestTakeovers kills the runners of resumable actions at random moments, and some stop as planned. The actions come to
// their end all the same.
func TestTakeovers(t *testing.T) {
	actions, kills := 12, 15
	if isSoak() {
		actions, kills = 200, 500
	}
	onEachStore(t, func(t *testing.T, place string) {
		r := newRelay(t, place, "", actions, 3, 2)
		followed := make(chan struct{})
		go func() { defer close(followed); r.follow() }()
		for n := range kills {
			for len(r.ids) < actions*(n+1)/kills {
				r.start()
			}
			<-time.After(rand.N(300 * time.Millisecond))
			i := rand.IntN(len(r.takers))
			if rand.IntN(4) == 0 {
				r.takers[i].signal(syscall.SIGTERM)
				if code := r.takers[i].wait(); code != 0 {
					t.Errorf("a taker that was asked to stop ended with %d: %s", code, r.takers[i].stderr)
				}
			} else {
				r.takers[i].kill()
			}
			r.takers[i] = r.taker()
		}
		select {
		case <-followed:
		case <-time.After(kapitest.Patience):
			t.Errorf("%d of %d actions have ended", len(r.done), actions)
			r.feed.Close()
			<-followed
		}
		again := r.check()
		t.Logf("%d actions, %d kills, %d items came again", actions, kills, again)
	})
}

// TestHandOver stops the runner of a resumable action as planned. Another process continues it within a second, nobody
// sees a failure, and no attempt is counted.
func TestHandOver(t *testing.T) {
	onEachStore(t, func(t *testing.T, place string) {
		gate := filepath.Join(t.TempDir(), "gate")
		r := newRelay(t, place, gate, 1, 1, 1)
		r.start()
		followed := make(chan struct{})
		go func() { defer close(followed); r.follow() }()
		kapitest.Eventually(t, "the action has come to the gate", func() bool {
			all := r.deeds()
			return len(all) > 0 && all[len(all)-1] == deed{kept, r.ids[0], all[0].Fence, 1, copyItems / 2}
		})
		next := r.taker()
		asked := time.Now()
		r.takers[0].signal(syscall.SIGTERM)
		kapitest.Eventually(t, "the other one continues", func() bool {
			for _, d := range r.deeds() {
				if d.What == begun && d.N > 0 {
					return true
				}
			}
			return false
		})
		took := time.Since(asked)
		if took > settleWithin()/2 {
			t.Errorf("the hand-over took %v", took)
		}
		if err := os.WriteFile(gate, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if code := r.takers[0].wait(); code != 0 {
			t.Errorf("it ended with %d: %s", code, r.takers[0].stderr)
		}
		<-followed
		r.check()
		if all := r.deeds(); all[len(all)-1].Attempt != 1 {
			t.Errorf("attempt %d", all[len(all)-1].Attempt)
		}
		next.signal(syscall.SIGTERM)
		next.wait()
		t.Logf("it took %v", took)
	})
}

// TestCheckpointIsKept kills the runner in the instant in which Checkpoint returns. The checkpoint is there.
func TestCheckpointIsKept(t *testing.T) {
	rounds := 5
	if isSoak() {
		rounds = 1000
	}
	onEachStore(t, func(t *testing.T, place string) {
		direct, err := openStore(place)
		if err != nil {
			t.Fatal(err)
		}
		defer direct.Close()
		for n := range rounds {
			want := fmt.Sprintf("%q", fmt.Sprint(n))
			p := role(t, "saver", []string{place, fmt.Sprint(n)})
			id := p.line()
			if code := p.wait(); code != -1 {
				t.Fatalf("it was not killed, but ended with %d: %s", code, p.stderr)
			}
			all, err := direct.Saved(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			found := slices.ContainsFunc(all, func(s store.Saved) bool { return s.Name == "" && string(s.Data) == want })
			if !found {
				t.Fatalf("in round %d the checkpoint %s was lost: %+v", n, want, all)
			}
		}
	})
}
