package postgres

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/peer"
)

// TestPgBouncer: peers work through a pooler that gives few connections to one transaction after the
// other. One peer has a direct connection to listen; the other has only the pooler, and polls.
func TestPgBouncer(t *testing.T) {
	database := server.Database(t)
	dsn := fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable&default_query_exec_mode=exec", server.Bouncer(t, 2), database)
	open := func(o Options) *peer.Peer {
		k, err := peer.Open(kapitest.Within(t), openAt(t, dsn, o), peer.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := k.Close(); err != nil {
				t.Error(err)
			}
		})
		return k
	}
	peers := []*peer.Peer{open(Options{ListenDSN: server.DSN(database)}), open(Options{})}
	var watches []*peer.Watch
	for _, k := range peers {
		w, err := k.Watch(kapitest.Within(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Close)
		watches = append(watches, w)
	}
	const callers, each = 8, 5
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for n := range each {
				spec := kapi.Spec{Title: "T", Keys: []string{"own", "shared"}[i%2 : i%2+1], Wait: -1}
				if i%2 == 0 {
					spec.Keys[0] += fmt.Sprint(i)
				}
				err := peers[n%2].Do(kapitest.Within(t), spec, func(_ context.Context, h kapi.Handle) error { return h.Impacted("s") })
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for i, w := range watches {
		for ends := 0; ends < callers*each; {
			a, err := w.Next(kapitest.Within(t))
			if err != nil {
				t.Fatalf("peer %d saw %d ends: %v", i, ends, err)
			}
			if a.Status == kapi.StatusCompleted {
				ends++
			}
		}
	}
	if list, err := peers[1].List(kapitest.Within(t)); err != nil || len(list) != 0 {
		t.Errorf("left are %v, %v", list, err)
	}
}
