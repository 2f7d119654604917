package storetest

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// Versions checks what a build does when a newer one takes over its store. raise sets the schema's
// version to one above this build's. Its arguments are how far above this build's version the least
// versions are that may report and may start.
func Versions(t *testing.T, open func() (store.Store, error), raise func(minReport, minStart int)) {
	k := versionsPeer(t, open)
	going := start(t, k, kapi.Spec{Title: "going", Keys: []string{"going"}})
	failing := start(t, k, kapi.Spec{Title: "failing", Keys: []string{"failing"}})

	raise(0, 0)
	start(t, k, kapi.Spec{Title: "nothing is refused"}).end(t, nil)

	raise(0, 1)
	for name, p := range map[string]*peer.Peer{"open before": k, "opened now": versionsPeer(t, open)} {
		_, err := p.Start(t.Context(), kapi.Spec{Title: "refused"}, func(context.Context, kapi.Handle) error {
			t.Errorf("%s: the operation ran", name)
			return nil
		})
		wantNewer(t, name+": a start", err, "this one still reports what it runs, and starts nothing more")
		if all, err := p.List(t.Context()); err != nil || len(all) != 2 {
			t.Errorf("%s: List returned %v, %v", name, all, err)
		}
	}
	if err := going.handle.Impacted("a report"); err != nil {
		t.Errorf("a report: %v", err)
	}
	failing.end(t, errors.New("failed"))
	if _, err := k.Dismiss(t.Context(), failing.handle.ID(), "somebody"); err != nil {
		t.Errorf("a dismissal: %v", err)
	}

	raise(1, 1)
	wantNewer(t, "a report", going.handle.Recovered(), "from a newer kapi")
	_, err := k.List(t.Context())
	wantNewer(t, "a list", err, "from a newer kapi")
	s, err := open()
	if err == nil {
		_ = s.Close()
	}
	wantNewer(t, "opening", err, "from a newer kapi")

	raise(0, 1)
	going.end(t, nil)
}

func wantNewer(t *testing.T, what string, err error, why string) {
	t.Helper()
	if !errors.Is(err, kapi.ErrUnavailable) || !strings.Contains(err.Error(), why) {
		t.Errorf("%s: got %v, want %v containing %q", what, err, kapi.ErrUnavailable, why)
	}
}

func versionsPeer(t *testing.T, open func() (store.Store, error)) *peer.Peer {
	t.Helper()
	s, err := open()
	if err != nil {
		t.Fatal(err)
	}
	k, err := peer.Open(t.Context(), s, peer.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return k
}
