package kapi_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/server"
	"github.com/kettubot/kapi/sqlite"
)

// A program opens a store, becomes one of its peers, and runs its long operations as
// actions.
func Example() {
	ctx := context.Background()
	store, err := sqlite.OpenMemory() // in a program: sqlite.Open("/var/lib/bot/kapi.db")
	if err != nil {
		log.Fatal(err)
	}
	p, err := peer.Open(ctx, store, peer.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close() // asks operations to stop, waits the grace period

	slots := []string{"north", "south"}
	spec := kapi.Spec{Title: "Resharding", Keys: []string{"reshard"}}
	err = p.Do(ctx, spec, func(ctx context.Context, h kapi.Handle) error {
		for i, slot := range slots {
			h.SetState("slot " + slot)
			if err := moveSlot(ctx, slot, h.Fence()); err != nil {
				return err // failed
			}
			h.SetProgress(float64(i+1) / float64(len(slots)))
		}
		return nil // completed
	})
	fmt.Println("resharded:", err == nil)
	// Output:
	// moved north
	// moved south
	// resharded: true
}

// moveSlot stands for the real work, which hands the fence to whatever must refuse a stale
// holder.
func moveSlot(_ context.Context, slot string, _ uint64) error {
	fmt.Println("moved", slot)
	return nil
}

// TestEmbedding: what somebody writes who embeds kapi, web page and all, is no more than this.
func TestEmbedding(t *testing.T) {
	ctx, mux := t.Context(), http.NewServeMux()
	admin := func(*http.Request) (auth.Identity, error) { return auth.Identity{}, auth.ErrNoToken }
	slots := []struct{ Name string }{{"north"}, {"south"}}
	move := func(ctx context.Context, _ struct{ Name string }, _ uint64) error { return ctx.Err() }

	store, err := sqlite.Open(filepath.Join(t.TempDir(), "kapi.db"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := peer.Open(ctx, store, peer.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close() // asks operations to stop, waits the grace period
	mux.Handle("/", server.New(p, server.Options{Authenticate: admin}))

	_, err = p.Start(ctx, kapi.Spec{Title: "Resharding", Keys: []string{"reshard"}},
		func(ctx context.Context, h kapi.Handle) error {
			for i, slot := range slots {
				h.SetState("slot " + slot.Name)
				if err := move(ctx, slot, h.Fence()); err != nil {
					return err // failed
				}
				h.SetProgress(float64(i+1) / float64(len(slots)))
			}
			return nil // completed
		})
	var held *kapi.HeldError // errors.As: who holds the key
	if errors.As(err, &held) || err != nil {
		t.Errorf("Start: %v", err)
	}
}
