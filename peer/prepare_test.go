package peer_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// A start whose transaction was rolled back is dropped, and never runs.
func TestPreparedRolledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newPeer(t)
		d, err := k.Prepare(t.Context(), kapi.Spec{Title: "T"}, func(context.Context, kapi.Handle) error {
			t.Error("run, although its transaction was rolled back")
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		asked := 0
		answers := []bool{false, false, true}
		d.Await(func(context.Context) (bool, error) {
			asked++
			if asked == 1 {
				return true, errors.New("not known")
			}
			return answers[asked-1], nil
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		if asked != len(answers) {
			t.Errorf("asked %d times, want %d", asked, len(answers))
		}
	})
}

// A start that another peer adopted runs, even if this peer learns of it only by reloading its view.
func TestPreparedSeenAfterGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStore(t)
		k := openPeer(t, st, peer.Options{})
		ran := make(chan struct{})
		d, err := k.Prepare(t.Context(), kapi.Spec{Title: "T"}, func(context.Context, kapi.Handle) error {
			close(ran)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		d.Await(func(context.Context) (bool, error) { return false, nil })
		var behind atomic.Bool
		behind.Store(true)
		st.setBefore(func(method string) error {
			if method == "Feed" && behind.Swap(false) {
				return store.ErrBehind
			}
			return nil
		})
		r, err := d.Record()
		if err != nil {
			t.Fatal(err)
		}
		err = st.Commit(t.Context(), store.Batch{Again: func() store.Batch { return store.Batch{} }}, func(l store.Loaded) (store.Writes, error) {
			r.Seq = l.Seq + 1
			r.Fence, r.Ticket = r.Seq, r.Seq
			return store.Writes{Head: r.Seq, Insert: []store.Record{r}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		kapitest.Receive(t, ran, "the operation to run")
	})
}

// Close does not wait for a transaction that is still open.
func TestCloseWithPrepared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newPeer(t)
		d, err := k.Prepare(t.Context(), kapi.Spec{Title: "T"}, untilStopped)
		if err != nil {
			t.Fatal(err)
		}
		d.Await(func(context.Context) (bool, error) { return false, nil })
		before := time.Now()
		if err := k.Close(); err != nil || time.Since(before) != 0 {
			t.Errorf("Close: %v after %v", err, time.Since(before))
		}
		if _, err := k.Prepare(t.Context(), kapi.Spec{Title: "T"}, untilStopped); !errors.Is(err, kapi.ErrClosed) && !errors.Is(err, kapi.ErrUnavailable) {
			t.Errorf("Prepare after Close: %v", err)
		}
	})
}

func TestPrepareRefuses(t *testing.T) {
	k := newPeer(t)
	for _, spec := range []kapi.Spec{{}, {Title: "T", Wait: 1}, {Title: "T", DismissFailed: true}} {
		var invalid *kapi.InvalidError
		if _, err := k.Prepare(t.Context(), spec, nil); !errors.As(err, &invalid) {
			t.Errorf("%+v: %v", spec, err)
		}
	}
	d, err := k.Prepare(t.Context(), kapi.Spec{Title: "T", Keys: []string{"x", "x"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := d.Record(); err != nil || r.Title != "T" || r.Runner == nil || len(r.Keys) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	d.Discard()
}

// A nudged store records how many nudges each batch has.
type nudged struct {
	*testStore
	nudges []int
}

func (s *nudged) Commit(ctx context.Context, b store.Batch, decide func(store.Loaded) (store.Writes, error)) error {
	s.nudges = append(s.nudges, b.Nudges)
	return s.testStore.Commit(ctx, b, decide)
}

// Check makes the store adopt the recorded starts first, by a nudge.
func TestCheckNudges(t *testing.T) {
	st := &nudged{testStore: newStore(t)}
	k := openPeer(t, st, peer.Options{})
	d, err := k.Prepare(t.Context(), kapi.Spec{Title: "T", Keys: []string{"key"}}, untilStopped)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Discard()
	before := len(st.nudges)
	if err := d.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if got := st.nudges[before:]; len(got) != 1 || got[0] != 1 {
		t.Errorf("nudges in its batches: %d, want one in one", got)
	}
}
