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

// A fate is what becomes of the others when one worker was killed.
type fate string

const (
	othersGoOn   fate = "the others go on"
	othersLeave  fate = "the others leave"
	othersDieToo fate = "the others die, too"
)

// fates come in turns. Where others go on, their next look is waited for, up to a second.
var fates = []fate{othersGoOn, othersLeave, othersDieToo, othersLeave, othersDieToo}

// settleWithin is how soon a peer that is alive fails what a dead runner left. make test runs
// packages beside each other, so a process may wait for a processor longer than that.
func settleWithin() time.Duration {
	if os.Getenv("KAPI_SOAK") != "" {
		return 2 * time.Second
	}
	return 10 * time.Second
}

// A crash is the store and what was seen of it, over all rounds.
type crash struct {
	dir   string
	store *sqlite.Store // only looked into: no peer is behind it
	epoch string
	seq   uint64
	// slowest is the longest that a dead worker's action stayed active.
	slowest time.Duration
	events  int
}

// TestCrash kills processes at random moments while they work, and checks after each
// time that what they were told is so.
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
			t.Fatalf("in round %d, where %s", i, next)
		}
	}
	t.Logf("%d rounds, %d events told, %d changes; dead workers' actions failed after %v at most",
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
	kapitest.Receive(t, enough, "the workers to get on", all[0].stderr.String, all[1].stderr.String, all[2].stderr.String)
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
			_ = p.wait() // its last lines are its listener's to read
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

// listen hears a worker out, and says when all together have told enough.
func (h *history) listen(t *testing.T, worker int, p *process, wanted int, enough func()) {
	for line := range p.lines {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Errorf("worker %d said %q: %v", worker, line, err)
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

// awaitFailure waits until the peers that are alive have failed what the dead one left.
func (c *crash) awaitFailure(t *testing.T, pid int, killed time.Time) {
	t.Helper()
	mine := func(r *store.Record) bool { return r.Runner != nil && r.Runner.PID == pid && r.Fence > c.seq }
	kapitest.Eventually(t, "the dead worker's actions are active no more", func() bool {
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
			t.Errorf("action %s failed %v after its runner had died, %v at most were promised", r.ID, took, settleWithin())
		}
	}
}

// inspect compares, in the same history.
func (c *crash) inspect(t *testing.T, h *history, died map[int]bool) {
	t.Helper()
	page := feed(t, c.store, c.seq)
	if page.Epoch != c.epoch || page.Seq < c.seq {
		t.Errorf("the store was at %d of %s, now it is at %d of %s", c.seq, c.epoch, page.Seq, page.Epoch)
	}
	h.inspect(t, "sqlite:"+c.store.Path(), c.seq, died)
	c.seq = feed(t, c.store, c.seq).Seq
	c.events += h.count
}

// inspect opens a new peer, which settles what is left at once, and compares what is in the store
// since a seq with what was told. In the end all is dismissed, and nothing may be left.
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
		t.Errorf("after all was dismissed: %v", err)
	}
	if list, err := peer.List(ctx); err != nil || len(list) > 0 {
		t.Errorf("after all was dismissed, there are %+v (%v)", list, err)
	}
}
