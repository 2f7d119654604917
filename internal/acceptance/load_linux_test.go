package acceptance

import (
	"encoding/json"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
)

// A load is workers on a store that may be unavailable at times, and what they have reported.
type load struct {
	t       *testing.T
	store   string
	head    store.Head // of the store, at the beginning
	workers []*process
	history *history
	events  chan struct{} // receives once per event
	heard   sync.WaitGroup
}

// startLoad starts one worker for each timeout, which is how long it waits for the store.
func startLoad(t *testing.T, store string, timeouts ...string) *load {
	t.Helper()
	l := &load{t: t, store: store, history: newHistory(), events: make(chan struct{}, 1<<20)}
	l.head = l.now()
	witnesses := t.TempDir()
	for _, timeout := range timeouts {
		l.workers = append(l.workers, role(t, "worker", []string{store, witnesses, timeout}))
	}
	for i, p := range l.workers {
		l.heard.Go(func() { l.listen(i, p) })
	}
	return l
}

func (l *load) listen(worker int, p *process) {
	for line := range p.lines {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			l.t.Errorf("worker %d wrote %q: %v", worker, line, err)
			continue
		}
		l.history.add(worker, e)
		l.events <- struct{}{}
	}
}

// await waits for n more events.
func (l *load) await(n int) {
	l.t.Helper()
	end := time.After(kapitest.Patience)
	for i := range n {
		select {
		case <-l.events:
		case <-end:
			for i, p := range l.workers {
				l.t.Logf("worker %d: %s", i, p.stderr)
			}
			l.t.Fatalf("the workers make no progress: of %d events, %d came within %v", n, i, kapitest.Patience)
		}
	}
}

// end has the workers finish, and compares what they reported with the store.
func (l *load) end() {
	l.t.Helper()
	for _, p := range l.workers {
		_ = p.stdin.Close()
	}
	for i, p := range l.workers {
		if code := p.wait(); code != 0 {
			l.t.Errorf("worker %d ended with %d: %s", i, code, p.stderr)
		}
	}
	l.heard.Wait()
	l.history.inspect(l.t, l.store, l.head.Seq, nil)
	l.t.Logf("%d events told", l.history.count)
}

// now returns the store's current head.
func (l *load) now() store.Head {
	l.t.Helper()
	store, err := openStore(l.store)
	if err != nil {
		l.t.Fatal(err)
	}
	defer store.Close()
	snapshot, err := store.Snapshot(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return snapshot.Head
}

func rounds(short, soak int) int {
	if isSoak() {
		return soak
	}
	return short
}

func isSoak() bool { return os.Getenv("KAPI_SOAK") != "" }
