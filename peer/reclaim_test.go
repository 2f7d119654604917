package peer_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/sqlite"
)

// storeAt opens a store and logs its warnings.
func storeAt(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	store, err := sqlite.OpenWith(t.Context(), path, sqlite.Options{Warn: func(text string) { t.Log(text) }})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// removeStore removes a store's file and the files beside it.
func removeStore(t *testing.T, path string) {
	t.Helper()
	files, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

// If the store is removed, the running actions are recorded in the new one, with their ids, keys and
// fences. Later fences are above theirs. Their ends are recorded there, too.
func TestReclaim(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kapi.db")
	k := openPeer(t, storeAt(t, path), peer.Options{})
	other := openPeer(t, storeAt(t, path), peer.Options{})
	for range 3 { // so that the fence is above 1
		if err := k.Do(t.Context(), kapi.Spec{Title: "before"}, func(context.Context, kapi.Handle) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 1)
	finish := make(chan struct{})
	var handle kapi.Handle
	began := make(chan struct{})
	go func() {
		ended <- k.Do(t.Context(), kapi.Spec{Title: "kept", Keys: []string{"k"}}, func(ctx context.Context, h kapi.Handle) error {
			handle = h
			h.SetProgress(0.5)
			close(began)
			select {
			case <-finish:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	}()
	<-began
	removeStore(t, path)
	kapitest.Eventually(t, "the action is in the new store", func() bool {
		fresh, err := sqlite.Open(path)
		if err != nil {
			return false
		}
		defer fresh.Close()
		snapshot, err := fresh.Snapshot(t.Context())
		return err == nil && len(snapshot.Records) == 1 && snapshot.Records[0].ID == handle.ID()
	})
	for _, p := range []*peer.Peer{k, other} {
		_, err := p.Start(t.Context(), kapi.Spec{Title: "second", Keys: []string{"k"}}, untilStopped)
		var held *kapi.HeldError
		if !errors.As(err, &held) || held.Holder.ID != handle.ID() {
			t.Errorf("a second start: %v, want it to be refused by %s", err, handle.ID())
		}
	}
	// The new store has another secret, which all peers must use.
	third := openPeer(t, storeAt(t, path), peer.Options{})
	kapitest.Eventually(t, "both peers return the same signature", func() bool {
		want := third.Sign("a", "b")
		return bytes.Equal(k.Sign("a", "b"), want) && bytes.Equal(other.Sign("a", "b"), want)
	})
	close(finish)
	if err := <-ended; err != nil {
		t.Errorf("the end: %v", err)
	}
	next := start(t, other, kapi.Spec{Keys: []string{"k"}}, untilStopped)
	if next.Seq <= handle.Fence() {
		t.Errorf("the next holder's fence is %d, the one before had %d", next.Seq, handle.Fence())
	}
}

// If another action holds the key in the new store, the operation has lost its action: it is asked to
// stop, and its end is recorded all the same.
func TestReclaimTooLate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kapi.db")
	store := storeAt(t, path)
	k := openPeer(t, store, peer.Options{})
	began, ended := make(chan kapi.Handle, 1), make(chan error, 1)
	go func() {
		ended <- k.Do(t.Context(), kapi.Spec{Title: "first", Keys: []string{"k"}}, func(ctx context.Context, h kapi.Handle) error {
			began <- h
			<-ctx.Done()
			return context.Cause(ctx)
		})
	}()
	h := <-began
	// The new store is prepared elsewhere, so that it can replace the old one at once.
	there := filepath.Join(t.TempDir(), "other.db")
	o := openPeer(t, storeAt(t, there), peer.Options{})
	second := start(t, o, kapi.Spec{Title: "second", Keys: []string{"k"}}, untilStopped)
	copyStore(t, there, path)
	wantError(t, <-ended, kapi.ErrLost)
	kapitest.Eventually(t, "its end is recorded", func() bool {
		a, err := k.Get(t.Context(), h.ID())
		return err == nil && a.Status == kapi.StatusFailed && len(a.Keys) == 0
	})
	a, err := k.Get(t.Context(), second.ID)
	if err != nil || len(a.Keys) != 1 {
		t.Errorf("the holder of the key: %+v, %v", a, err)
	}
}

// copyStore replaces a store with a copy of another one, which is open, including its log.
func copyStore(t *testing.T, from, to string) {
	t.Helper()
	for _, end := range []string{"-wal", ""} {
		data, err := os.ReadFile(from + end)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to+".new"+end, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	removeStore(t, to+"-")
	for _, end := range []string{"-wal", ""} {
		if err := os.Rename(to+".new"+end, to+end); err != nil {
			t.Fatal(err)
		}
	}
}
