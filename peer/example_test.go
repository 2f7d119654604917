package peer_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/sqlite"
)

// While an action holds a key, another start with the key is refused, and the error has the holder.
func ExamplePeer_Start() {
	ctx := context.Background()
	k := openExample() // see the example of the package
	defer k.Close()

	_, err := k.Start(ctx, kapi.Spec{Title: "Resharding", Keys: []string{"reshard"}}, work)
	fmt.Println("started:", err == nil)

	_, err = k.Start(ctx, kapi.Spec{Title: "Deploy", Keys: []string{"deploy", "reshard"}}, work)
	var held *kapi.HeldError
	if errors.As(err, &held) {
		fmt.Printf("refused: %s is held by %s, which is %s\n", held.Key, held.Holder.Title, held.Holder.Status)
	}
	// Output:
	// started: true
	// refused: reshard is held by Resharding, which is running
}

// A watch begins with the ongoing actions, and then delivers the changes. A slow reader gets only
// the newest state of each action.
func ExamplePeer_Watch() {
	ctx := context.Background()
	k := openExample() // see the example of the package
	defer k.Close()

	w, err := k.Watch(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()
	fmt.Println("ongoing:", len(w.Snapshot))

	next := func() {
		a, err := w.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(a.Title, "is", a.Status)
	}
	_ = k.Do(ctx, kapi.Spec{Title: "Backup"}, func(_ context.Context, h kapi.Handle) error {
		next()
		if err := h.Impacted("the disk is slow"); err != nil {
			return err
		}
		next()
		return errors.New("the disk is full")
	})
	next()
	// Output:
	// ongoing: 0
	// Backup is running
	// Backup is impacted
	// Backup is failed
}

// A failed action keeps its keys until somebody dismisses it.
func ExamplePeer_Dismiss() {
	ctx := context.Background()
	k := openExample() // see the example of the package
	defer k.Close()

	spec := kapi.Spec{Title: "Resharding", Keys: []string{"reshard"}}
	_ = k.Do(ctx, spec, func(context.Context, kapi.Handle) error { return errors.New("slot north is stuck") })

	_, err := k.Start(ctx, spec, work)
	var held *kapi.HeldError
	if !errors.As(err, &held) {
		log.Fatal(err)
	}
	fmt.Printf("%s: %s\n", held.Holder.Status, held.Holder.State)

	a, err := k.Dismiss(ctx, held.Holder.ID, "ada")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("dismissed:", a.Status)

	_, err = k.Start(ctx, spec, work)
	fmt.Println("started again:", err == nil)
	// Output:
	// failed: slot north is stuck
	// dismissed: aborted
	// started again: true
}

// openExample opens a peer with a store in memory.
func openExample() *peer.Peer {
	store, err := sqlite.OpenMemory()
	if err != nil {
		log.Fatal(err)
	}
	k, err := peer.Open(context.Background(), store, peer.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	return k
}

// work stands for an operation that runs until it is asked to stop.
func work(ctx context.Context, _ kapi.Handle) error {
	<-ctx.Done()
	return context.Cause(ctx)
}
