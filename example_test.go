package kapi_test

import (
	"context"
	"fmt"
	"log"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
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
	defer p.Close() // asks operations to stop, and waits for the grace period

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

// moveSlot stands in for the real work, which passes the fence to every system that must refuse a
// stale holder.
func moveSlot(_ context.Context, slot string, _ uint64) error {
	fmt.Println("moved", slot)
	return nil
}
