package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/sqlite"
)

const (
	crashRounds = 12
	soakRounds  = 2000
	workers     = 3
)

// A fate is what happens to the other workers when one was killed.
type fate string

const (
	othersGoOn   fate = "the others continue"
	othersLeave  fate = "the others leave"
	othersDieToo fate = "the others die too"
)

// fates alternate. If the others continue, their next check takes up to a second.
var fates = []fate{othersGoOn, othersLeave, othersDieToo, othersLeave, othersDieToo}

// settleWithin is how soon a living peer fails what a dead runner left. make test runs packages in
// parallel, so a process may wait longer than that for a processor.
func settleWithin() time.Duration {
	if os.Getenv("KAPI_SOAK") != "" {
		return 2 * time.Second
	}
	return 10 * time.Second
}

// A crash is the store, and what was seen of it in all rounds.
type crash struct {
	dir   string
	store *sqlite.Store // read directly, without a peer
	epoch string
	seq   uint64
	// slowest is the longest time for which a dead worker's action stayed active.
	slowest time.Duration
	events  int
}

// TestCrash kills processes at random moments while they work, and each time checks that what they were
// told is true.
func TestCrash(t *testing.T) {
	rounds := crashRounds
	if os.Getenv("KAPI_SOAK") != "" {
		rounds = soakRounds
	}
	dir := t.TempDir()
	store, err := sqlite.Open(filepath.Join(dir, "kapi.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	c := &crash{dir: dir, store: store, epoch: feed(t, store, 0).Epoch}
	for i := range rounds {
		next := fates[i%len(fates)]
		c.round(t, next)
		if t.Failed() {
			t.Fatalf("in round %d: %s", i, next)
		}
	}
	t.Logf("%d rounds, %d events, %d changes; dead workers' actions failed after %v at most",
		rounds, c.events, c.seq, c.slowest)
}

func (c *crash) round(t *testing.T, next fate) {
	witnesses := filepath.Join(c.dir, "witnesses")
	if err := errors.Join(os.RemoveAll(witnesses), os.Mkdir(witnesses, 0o700)); err != nil {
		t.Fatal(err)
	}
	h := newHistory()
	all := make([]*process, workers)
	enough := make(chan struct{})
	var listeners sync.WaitGroup
	kill := 10 + rand.IntN(60)
	var once sync.Once
	for i := range all {
		all[i] = role(t, "worker", []string{"sqlite:" + c.store.Path(), witnesses})
		listeners.Go(func() { h.listen(t, i, all[i], kill, func() { once.Do(func() { close(enough) }) }) })
	}
	kapitest.Receive(t, enough, "the workers to make progress", all[0].stderr.String, all[1].stderr.String, all[2].stderr.String)
	<-time.After(time.Duration(rand.IntN(3000)) * time.Microsecond) // so that it isn't always just after an event
	died := map[int]bool{rand.IntN(workers): true}
	if next == othersDieToo {
		died = map[int]bool{0: true, 1: true, 2: true}
	}
	for i := range died {
		all[i].signal(syscall.SIGKILL)
	}
	killed := time.Now()
	if next == othersGoOn {
		c.awaitFailure(t, all[slices.Collect(maps.Keys(died))[0]].pid(), killed)
	}
	for i, p := range all {
		if died[i] {
			_ = p.wait() // the listener must read its last lines
			continue
		}
		_ = p.stdin.Close()
		if code := p.wait(); code != 0 {
			t.Errorf("worker %d ended with %d: %s", i, code, p.stderr)
		}
	}
	listeners.Wait()
	c.inspect(t, h, died)
}

// listen reads a worker's events to the end, and calls enough when all workers together have sent the
// wanted number.
func (h *history) listen(t *testing.T, worker int, p *process, wanted int, enough func()) {
	for line := range p.lines {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Errorf("worker %d wrote %q: %v", worker, line, err)
			continue
		}
		h.add(worker, e)
		h.mu.Lock()
		n := h.count
		h.mu.Unlock()
		if n >= wanted {
			enough()
		}
	}
}

// awaitFailure waits until the living peers have failed the dead worker's actions.
func (c *crash) awaitFailure(t *testing.T, pid int, killed time.Time) {
	t.Helper()
	mine := func(r *store.Record) bool { return r.Runner != nil && r.Runner.PID == pid && r.Fence > c.seq }
	kapitest.Eventually(t, "the dead worker's actions are no longer active", func() bool {
		for _, r := range feed(t, c.store, c.seq).Records {
			if mine(&r) && r.Status.Active() {
				return false
			}
		}
		return true
	})
	for _, r := range feed(t, c.store, c.seq).Records {
		if !mine(&r) || r.Status != kapi.StatusFailed {
			continue
		}
		took := time.UnixMilli(r.UpdatedAt).Sub(killed)
		c.slowest = max(c.slowest, took)
		if took > settleWithin() {
			t.Errorf("action %s failed %v after its runner had died, want at most %v", r.ID, took, settleWithin())
		}
	}
}

// inspect checks that the store continues the same history, and compares it with the events.
func (c *crash) inspect(t *testing.T, h *history, died map[int]bool) {
	t.Helper()
	page := feed(t, c.store, c.seq)
	if page.Epoch != c.epoch || page.Seq < c.seq {
		t.Errorf("the store was at seq %d of epoch %s, now it is at %d of %s", c.seq, c.epoch, page.Seq, page.Epoch)
	}
	h.inspect(t, "sqlite:"+c.store.Path(), c.seq, died)
	c.seq = feed(t, c.store, c.seq).Seq
	c.events += h.count
}

// inspect opens a new peer, which settles at once what is left, and compares the store's changes since
// a seq with the events. At the end it dismisses everything, and nothing may be left.
func (h *history) inspect(t *testing.T, place string, since uint64, died map[int]bool) {
	t.Helper()
	ctx := context.Background()
	store, err := openStore(place)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := peer.Open(ctx, store, peer.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	list, err := peer.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	page := feed(t, store, since)
	h.audit(t, page.Records, died)
	h.allKeys(t, list)
	ongoing := 0
	for _, r := range page.Records {
		if r.Status.Ongoing() {
			ongoing++
		}
	}
	if ongoing != len(list) {
		t.Errorf("%d actions are listed, but %d are ongoing", len(list), ongoing)
	}
	for _, a := range list {
		if _, err := peer.Dismiss(ctx, a.ID, "the test"); err != nil {
			t.Errorf("dismiss %+v: %v", a, err)
		}
	}
	spec := kapi.Spec{Title: "All keys at once", Keys: crashKeys}
	if err := peer.Do(ctx, spec, func(context.Context, kapi.Handle) error { return nil }); err != nil {
		t.Errorf("after everything was dismissed: %v", err)
	}
	if list, err := peer.List(ctx); err != nil || len(list) > 0 {
		t.Errorf("after everything was dismissed, the list is %+v (%v)", list, err)
	}
}
