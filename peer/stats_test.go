package peer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

func completes(context.Context, kapi.Handle) error { return nil }

func fails(context.Context, kapi.Handle) error { return errors.New("boom") }

// total returns the number of values in a histogram.
func total(h peer.Histogram) (n uint64) {
	for _, of := range h.Counts {
		n += of
	}
	return n
}

// ends returns counts in the form of Stats.Ends.
func ends(failed, aborted, completed uint64) (e [kapi.StatusCompleted + 1]uint64) {
	e[kapi.StatusFailed], e[kapi.StatusAborted], e[kapi.StatusCompleted] = failed, aborted, completed
	return e
}

// Each start, end and refusal is counted once, by the peer that committed it, and both peers have
// seen all of them.
func TestStatsCountOnce(t *testing.T) {
	st := newStore(t)
	one, two := openPeer(t, st, peer.Options{}), openPeer(t, st, peer.Options{})
	ctx := t.Context()
	if err := one.Do(ctx, kapi.Spec{Title: "t"}, completes); err != nil {
		t.Fatal(err)
	}
	if err := one.Do(ctx, kapi.Spec{Title: "t", Keys: []string{"k"}}, fails); err == nil {
		t.Fatal("it did not fail")
	}
	for range 3 {
		if err := two.Do(ctx, kapi.Spec{Title: "t", Keys: []string{"free", "k"}}, completes); !errors.As(err, new(*kapi.HeldError)) {
			t.Fatalf("the key is not held: %v", err)
		}
	}
	// The start dismisses the failed action, so another dismissal finds nothing.
	spec := peer.RemoteSpec{
		Spec:    kapi.Spec{Title: "t", Keys: []string{"k"}, DismissFailed: true},
		Pending: true, Sender: "ada", IdempotencyKey: "x", Hash: []byte("h"),
	}
	r, err := two.StartRemote(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []*peer.Peer{one, two} { // the same answer, and no new start
		if again, err := k.StartRemote(ctx, spec); err != nil || again.Action.ID != r.Action.ID {
			t.Fatalf("again: %+v, %v", again, err)
		}
	}
	for _, s := range []kapi.Status{kapi.StatusRunning, kapi.StatusImpacted, kapi.StatusRunning, kapi.StatusFailed, kapi.StatusFailed} {
		if _, err := one.Report(ctx, r.Action.ID, kapi.Report{Fence: r.Fence, Status: &s}); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range []*peer.Peer{two, one} {
		if _, err := k.Dismiss(ctx, r.Action.ID, "ada"); k == one {
			wantError(t, err, kapi.ErrUnknown)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	withdrawn, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := one.Start(withdrawn, kapi.Spec{Title: "t"}, completes); err == nil {
		t.Fatal("a withdrawn start returned no error")
	}
	for name, want := range map[string]struct {
		*peer.Peer
		starts, refused uint64
		ends            [kapi.StatusCompleted + 1]uint64
	}{
		"one": {one, 2, 0, ends(2, 0, 1)},
		"two": {two, 1, 3, ends(0, 2, 0)},
	} {
		if err := want.Ready(ctx); err != nil { // after that it has seen everything
			t.Fatal(err)
		}
		s := want.Stats()
		if s.Starts != want.starts || s.Ends != want.ends || s.Refusals["k"] != want.refused || s.RefusalsOther != 0 {
			t.Errorf("%s: %+v", name, s)
		}
		if s.SeenStarts != 3 || s.SeenEnds != ends(2, 2, 1) || s.Ongoing != [kapi.StatusCompleted + 1]int{} {
			t.Errorf("%s has seen %+v", name, s)
		}
	}
}

// With many concurrent calls at two peers, nothing is counted twice or missed.
func TestStatsCountExactly(t *testing.T) {
	st := newStore(t)
	peers := []*peer.Peer{openPeer(t, st, peer.Options{}), openPeer(t, st, peer.Options{})}
	var mu sync.Mutex
	var started, failed, completed, refused uint64
	var all sync.WaitGroup
	for i := range 16 {
		k, op := peers[i%2], []kapi.Operation{completes, fails}[i/2%2]
		all.Go(func() {
			for range 30 {
				spec := kapi.Spec{Title: "t", Keys: []string{fmt.Sprint("k", i/4)}, ReleaseOnFailure: true}
				err := k.Do(t.Context(), spec, op)
				mu.Lock()
				switch {
				case errors.As(err, new(*kapi.HeldError)):
					refused++
				case err == nil:
					started, completed = started+1, completed+1
				default:
					started, failed = started+1, failed+1
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	var starts, held uint64
	var ended [kapi.StatusCompleted + 1]uint64
	for _, k := range peers {
		if err := k.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := k.Stats()
		starts += s.Starts
		for status, n := range s.Ends {
			ended[status] += n
		}
		for _, n := range s.Refusals {
			held += n
		}
		if s.SeenStarts != started || s.SeenEnds != ends(failed, 0, completed) {
			t.Errorf("a peer has seen %d starts and the ends %v, of %d and %d and %d", s.SeenStarts, s.SeenEnds, started, failed, completed)
		}
		if n := uint64(s.Ongoing[kapi.StatusFailed]); n != failed {
			t.Errorf("%d of %d failed actions are there", n, failed)
		}
		if n := total(s.BatchChanges); n == 0 || n != total(s.BatchSeconds) || s.BatchesFailed != 0 {
			t.Errorf("batches: %+v", s)
		}
	}
	if starts != started || held != refused || ended != ends(failed, 0, completed) {
		t.Errorf("counted %d starts, %d refusals, ends %v; there were %d, %d and %d failed, %d completed",
			starts, held, ended, started, refused, failed, completed)
	}
	if refused == 0 || failed == 0 || completed == 0 {
		t.Errorf("%d starts were refused, %d failed, %d completed: the test needs some of each", refused, failed, completed)
	}
}

// Refusals are counted by key for at most a hundred keys.
func TestStatsBoundKeys(t *testing.T) {
	k := newPeer(t)
	for i := range 120 {
		spec := kapi.Spec{Title: "t", Keys: []string{fmt.Sprint("key-", i)}}
		start(t, k, spec, untilStopped)
		for range 2 {
			if _, err := k.Start(t.Context(), spec, untilStopped); !errors.As(err, new(*kapi.HeldError)) {
				t.Fatal(err)
			}
		}
	}
	s := k.Stats()
	if len(s.Refusals) != 100 || s.Refusals["key-0"] != 2 || s.Refusals["key-99"] != 2 || s.RefusalsOther != 40 {
		t.Errorf("%d keys, %d others", len(s.Refusals), s.RefusalsOther)
	}
	s.Refusals["key-0"] = 77
	s.BatchChanges.Counts[0] = 77
	if again := k.Stats(); again.Refusals["key-0"] != 2 || again.BatchChanges.Counts[0] == 77 {
		t.Error("a change of the caller's copy changed the peer's counts")
	}
}

// Only a transaction that was written is in the histograms. One that failed, or had nothing to write, is
// counted on its own, and its starts and ends are not counted.
func TestStatsBatches(t *testing.T) {
	st := newStore(t)
	k := openPeer(t, st, peer.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	begun := time.Now()
	start(t, k, kapi.Spec{Keys: []string{"k"}}, untilStopped)
	took := time.Since(begun).Seconds()
	s := k.Stats()
	if total(s.BatchChanges) != 1 || s.BatchChanges.Sum != 1 || s.BatchChanges.Counts[0] != 1 ||
		total(s.BatchSeconds) != 1 || s.BatchSeconds.Sum <= 0 || s.BatchSeconds.Sum > took || s.BatchesEmpty != 0 {
		t.Errorf("one start: %+v", s)
	}
	if _, err := k.Start(t.Context(), kapi.Spec{Title: "t", Keys: []string{"k"}}, untilStopped); err == nil {
		t.Fatal("started twice")
	}
	st.failing(errOutage, "Commit")
	for range 2 {
		_, err := k.Start(t.Context(), kapi.Spec{Title: "t", Keys: []string{"k"}}, untilStopped)
		wantError(t, err, kapi.ErrUnavailable)
	}
	st.healed()
	st.setAfter(func(store.Writes) error { return errOutage }) // it is committed, but the answer is lost
	_, err := k.Start(t.Context(), kapi.Spec{Title: "t", Keys: []string{"k"}}, untilStopped)
	wantError(t, err, kapi.ErrUnavailable)
	st.setAfter(nil)
	s = k.Stats()
	if total(s.BatchChanges) != 1 || s.BatchesEmpty != 1 || s.BatchesFailed != 3 || s.Starts != 1 || s.Refusals["k"] != 1 {
		t.Errorf("with refusals and failures: %+v", s)
	}
}

// FeedLag has the changes of other peers only, each once.
func TestStatsLag(t *testing.T) {
	st := newStore(t)
	one, two := openPeer(t, st, peer.Options{}), openPeer(t, st, peer.Options{})
	for range 20 {
		if err := one.Do(t.Context(), kapi.Spec{Title: "t"}, func(_ context.Context, h kapi.Handle) error {
			if err := two.Ready(t.Context()); err != nil { // so that it reads the start on its own
				return err
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := two.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	a, b := one.Stats(), two.Stats()
	if n := total(a.FeedLag); n != 0 {
		t.Errorf("%d of the peer's own changes have a lag", n)
	}
	if n := total(b.FeedLag); n != 40 || b.FeedLag.Sum < 0 {
		t.Errorf("%d changes of the other have a lag, in all of %v s", n, b.FeedLag.Sum)
	}
	if a.Seq != 40 || b.Seq != 40 {
		t.Errorf("seq %d and %d", a.Seq, b.Seq)
	}
}

// FeedAge says for how long a peer could not read the store. It stays low while the store can be read.
func TestStatsAge(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.open()
		s.at(time.Minute)
		if age := s.k.Stats().FeedAge; age > 2*time.Second {
			t.Errorf("it is %v old", age)
		}
		s.link.cut()
		s.at(11 * time.Minute)
		if age := s.k.Stats().FeedAge; age < 10*time.Minute || age > 10*time.Minute+2*time.Second {
			t.Errorf("after ten minutes without the store it is %v old", age)
		}
		s.link.mend()
		s.at(11*time.Minute + 5*time.Second)
		if age := s.k.Stats().FeedAge; age > 2*time.Second {
			t.Errorf("afterwards it is %v old", age)
		}
	})
}

// A silent action is counted as impacted, as it is shown.
func TestStatsOngoing(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.leave(stranger())
		s.open()
		fail(t, s.k, kapi.Spec{}, "boom")
		if got, want := s.k.Stats().Ongoing, [...]int{0, 1, 0, 1, 0, 0}; got != want {
			t.Errorf("ongoing %v, want %v", got, want)
		}
		s.at(s.now() + sceneLease + 2*time.Second)
		if got, want := s.k.Stats().Ongoing, [...]int{0, 0, 1, 1, 0, 0}; got != want {
			t.Errorf("ongoing %v, want %v", got, want)
		}
	})
}

// A peer may read its own changes in the feed before the committer publishes them.
func TestStatsLagOfOwnChanges(t *testing.T) {
	k := newPeer(t)
	done := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				_ = k.Ready(t.Context())
			}
		}
	})
	for range 300 {
		if err := k.Do(t.Context(), kapi.Spec{Title: "t"}, completes); err != nil {
			t.Error(err)
		}
	}
	close(done)
	reading.Wait()
	if s := k.Stats(); total(s.FeedLag) != 0 || s.SeenStarts != 300 || s.Starts != 300 {
		t.Errorf("%d own changes have a lag; %d and %d starts", total(s.FeedLag), s.SeenStarts, s.Starts)
	}
}
