package peer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/sqlite"
)

var errOutage = fmt.Errorf("%w: unplugged", kapi.ErrUnavailable)

// An outage refuses new starts, and doesn't affect running operations.
func TestOutage(t *testing.T) {
	st := newStore(t)
	k := openPeer(t, st, peer.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	w, err := k.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	said, release := make(chan struct{}), make(chan struct{})
	a := start(t, k, kapi.Spec{Keys: []string{"k"}}, func(ctx context.Context, h kapi.Handle) error {
		<-said
		h.SetProgress(0.5)
		h.SetState("half way")
		<-release
		return ctx.Err()
	})
	st.failing(errOutage)

	_, err = k.Start(t.Context(), kapi.Spec{Title: "t"}, untilStopped)
	wantError(t, err, kapi.ErrUnavailable)
	if !strings.Contains(err.Error(), "unplugged") {
		t.Errorf("the error %q doesn't say why", err)
	}
	_, err = k.List(t.Context())
	wantError(t, err, kapi.ErrUnavailable)
	_, err = k.Get(t.Context(), a.ID)
	wantError(t, err, kapi.ErrUnavailable)
	_, err = k.Watch(t.Context())
	wantError(t, err, kapi.ErrUnavailable)
	_, err = k.Dismiss(t.Context(), a.ID, "ada")
	wantError(t, err, kapi.ErrUnavailable)
	_, err = k.Cancel(t.Context(), a.ID, "ada")
	wantError(t, err, kapi.ErrUnavailable)
	wantError(t, k.Ready(t.Context()), kapi.ErrUnavailable)

	close(said)
	time.Sleep(150 * time.Millisecond) // so that its reports are refused at least once
	st.healed()
	awaitNext(t, w, a.ID, func(a kapi.Action) bool {
		return a.Status == kapi.StatusRunning && a.State == "half way" && a.Progress != nil && *a.Progress == 0.5
	})
	close(release)
	awaitNext(t, w, a.ID, is(kapi.StatusCompleted))
	if err := k.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// An end that can't be recorded is tried again until it can, together with the last progress and
// state.
func TestEndDuringOutage(t *testing.T) {
	st := newStore(t)
	k := openPeer(t, st, peer.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	w, err := k.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	release := make(chan struct{})
	done := make(chan error)
	var id string
	go func() {
		done <- k.Do(t.Context(), kapi.Spec{Title: "t", Keys: []string{"k"}}, func(_ context.Context, h kapi.Handle) error {
			id = h.ID()
			<-release
			h.ResetProgress()
			h.SetProgress(0.25)
			h.SetState("the last word")
			return nil
		})
	}()
	var refused atomic.Int32
	st.setBefore(func(method string) error {
		if method == "Commit" && refused.Load() < 3 {
			select {
			case <-release:
				refused.Add(1)
				return errOutage
			default:
			}
		}
		return nil
	})
	awaitAny(t, w, is(kapi.StatusRunning))
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	end := awaitNext(t, w, id, is(kapi.StatusCompleted))
	if end.Progress == nil || *end.Progress != 0.25 || end.State != "the last word" {
		t.Errorf("ended as %+v", end)
	}
	if refused.Load() != 3 {
		t.Errorf("refused %d times", refused.Load())
	}
}

// With an EndTimeout, Do returns that the end is not recorded. It is recorded later.
func TestEndTimeout(t *testing.T) {
	st := newStore(t)
	k := openPeer(t, st, peer.Options{
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), EndTimeout: 100 * time.Millisecond,
	})
	w, err := k.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	boom := errors.New("boom")
	err = k.Do(t.Context(), kapi.Spec{Title: "t"}, func(_ context.Context, h kapi.Handle) error {
		st.failing(errOutage)
		h.SetExitCode(7)
		return boom
	})
	wantError(t, err, kapi.ErrUnavailable)
	wantError(t, err, boom)
	st.healed()
	end := awaitAny(t, w, is(kapi.StatusFailed))
	if end.State != "boom" || end.ExitCode == nil || *end.ExitCode != 7 {
		t.Errorf("failed as %+v", end)
	}
}

// A start whose answer was lost is not run, and the state of its action says so.
func TestStartAnswerLost(t *testing.T) {
	st := newStore(t)
	k := openPeer(t, st, peer.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	w, err := k.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	st.setAfter(func(w store.Writes) error {
		if len(w.Insert) > 0 {
			return errOutage
		}
		return nil
	})
	_, err = k.Start(t.Context(), kapi.Spec{Title: "t", Keys: []string{"k"}}, func(context.Context, kapi.Handle) error {
		t.Error("it ran")
		return nil
	})
	wantError(t, err, kapi.ErrUnavailable)
	end := awaitAny(t, w, is(kapi.StatusFailed))
	if want := "its start could not be confirmed, so it was not run"; end.State != want {
		t.Errorf("state %q, want %q", end.State, want)
	}
}

// A peer that closes while the outcome of a start is unknown ends the action, which would otherwise look like that
// of a dead runner.
func TestCloseUnconfirmed(t *testing.T) {
	st := newStore(t)
	other := openPeer(t, st, peer.Options{})
	k := openPeer(t, st, peer.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	st.setAfter(func(w store.Writes) error {
		if len(w.Insert) > 0 {
			return fmt.Errorf("%w: %w", kapi.ErrUnavailable, kapi.ErrOutcomeUnknown)
		}
		return nil
	})
	_, err := k.Start(t.Context(), kapi.Spec{Title: "t", Keys: []string{"k"}}, untilStopped)
	wantError(t, err, kapi.ErrOutcomeUnknown)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	all, err := other.List(t.Context())
	if err != nil || len(all) != 1 || all[0].Status != kapi.StatusFailed || all[0].State != "its start could not be confirmed, so it was not run" {
		t.Errorf("%+v, %v", all, err)
	}
}

// An end whose answer was lost is repeated, and counts once.
func TestEndAnswerLost(t *testing.T) {
	for _, result := range []error{nil, errors.New("boom")} {
		st := newStore(t)
		k := openPeer(t, st, peer.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		var lost atomic.Bool
		st.setAfter(func(w store.Writes) error {
			if len(w.Update) > 0 && !lost.Swap(true) {
				return errOutage
			}
			return nil
		})
		err := k.Do(t.Context(), kapi.Spec{Title: "t"}, func(context.Context, kapi.Handle) error { return result })
		if !errors.Is(err, result) || errors.Is(err, kapi.ErrUnavailable) {
			t.Errorf("%v: ended with %v", result, err)
		}
		if !lost.Load() {
			t.Error("no answer was lost")
		}
		all, err := k.List(t.Context())
		if failed := slices.ContainsFunc(all, is(kapi.StatusFailed)); err != nil || failed != (result != nil) {
			t.Errorf("%v: listed %+v, %v", result, all, err)
		}
	}
}

// A change that takes the store too long is refused, and the committer serves the next.
func TestStoreTimeout(t *testing.T) {
	st := newStore(t)
	k := openPeer(t, st, peer.Options{StoreTimeout: 50 * time.Millisecond})
	st.setBefore(func(method string) error {
		if method == "Commit" {
			time.Sleep(80 * time.Millisecond)
			return context.DeadlineExceeded
		}
		return nil
	})
	_, err := k.Start(t.Context(), kapi.Spec{Title: "t"}, untilStopped)
	wantError(t, err, kapi.ErrUnavailable)
	st.healed()
	start(t, k, kapi.Spec{}, untilStopped)
}

// A caller that stops waiting withdraws its start, if it is not too late.
func TestWithdrawn(t *testing.T) {
	st := newStore(t)
	k := openPeer(t, st, peer.Options{})
	entered, let := make(chan struct{}), make(chan struct{})
	st.setBefore(func(method string) error {
		if method == "Commit" {
			entered <- struct{}{}
			<-let
		}
		return nil
	})
	first := make(chan error)
	go func() {
		_, err := k.Start(t.Context(), kapi.Spec{Title: "t"}, untilStopped)
		first <- err
	}()
	<-entered // the committer is busy
	st.setBefore(nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	impatient := errors.New("impatient")
	cancel(impatient)
	_, err := k.Start(ctx, kapi.Spec{Title: "t", Keys: []string{"k"}}, untilStopped)
	wantError(t, err, impatient)
	ctx, cancelLate := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, impatient)
	defer cancelLate()
	_, err = k.Start(ctx, kapi.Spec{Title: "t", Keys: []string{"k"}}, untilStopped)
	wantError(t, err, impatient)
	close(let)
	if err := <-first; err != nil {
		t.Error(err)
	}
	start(t, k, kapi.Spec{Keys: []string{"k"}}, untilStopped) // nobody holds it
}

// A transaction that waits for the store's lock is abandoned when its caller leaves, unless other
// callers of the same transaction stay.
func TestLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kapi.db")
	mine, theirs := openFile(t, path), openFile(t, path)
	k := openPeer(t, mine, peer.Options{StoreTimeout: time.Hour})
	locked, unlock := make(chan struct{}), make(chan struct{})
	done := make(chan error)
	go func() {
		done <- theirs.Commit(context.Background(), store.Batch{}, func(store.Loaded) (store.Writes, error) {
			close(locked)
			<-unlock
			return store.Writes{}, nil
		})
	}()
	<-locked
	impatient := errors.New("impatient")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, impatient)
	defer cancel()
	_, err := k.Start(ctx, kapi.Spec{Title: "t", Keys: []string{"k"}}, untilStopped)
	wantError(t, err, impatient)
	close(unlock)
	if err := <-done; err != nil {
		t.Error(err)
	}
	start(t, k, kapi.Spec{Keys: []string{"k"}}, untilStopped) // nobody holds it
	if err := theirs.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenFails(t *testing.T) {
	st := newStore(t)
	st.failing(errOutage, "Some")
	_, err := peer.Open(t.Context(), st, peer.Options{})
	wantError(t, err, kapi.ErrUnavailable)
}

// If the feed is behind the view, or was purged too far, the view is reloaded: watches end with
// ErrGap, and the operation of an action that is gone gets ErrLost.
func TestReload(t *testing.T) {
	st := newStore(t)
	k := openPeer(t, st, peer.Options{})
	kept := start(t, k, kapi.Spec{}, untilStopped)
	causes, listed := make(chan error, 1), make(chan struct{})
	lost := start(t, k, kapi.Spec{}, func(ctx context.Context, _ kapi.Handle) error {
		<-ctx.Done()
		causes <- context.Cause(ctx)
		<-listed // the store below still has the action, and would record its end
		return ctx.Err()
	})
	w, err := k.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	st.forget(lost.ID)
	st.failing(store.ErrBehind, "Feed")
	all, err := k.List(t.Context())
	if err != nil || len(all) != 1 || all[0].ID != kept.ID {
		t.Errorf("listed %+v, %v", all, err)
	}
	close(listed)
	_, err = w.Next(t.Context())
	wantError(t, err, kapi.ErrGap)
	wantError(t, <-causes, kapi.ErrLost)
	st.healed()
	start(t, k, kapi.Spec{}, untilStopped)
}

func openFile(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	st, err := sqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// awaitAny waits for an update of any action.
func awaitAny(t testing.TB, w *peer.Watch, wanted func(kapi.Action) bool) kapi.Action {
	t.Helper()
	for {
		a, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if wanted(a) {
			return a
		}
	}
}

// If the history changes in every transaction, the store counts as not available. Afterwards starts work again.
func TestHistoryChangesAgainAndAgain(t *testing.T) {
	st := newStore(t)
	k := openPeer(t, st, peer.Options{})
	st.failing(store.ErrBehind, "Commit")
	_, err := k.Start(t.Context(), kapi.Spec{Title: "t"}, untilStopped)
	wantError(t, err, kapi.ErrUnavailable)
	st.healed()
	start(t, k, kapi.Spec{}, untilStopped)
}
