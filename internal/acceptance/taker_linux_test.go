package acceptance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/peer"
)

const (
	copyItems = 40
	// copyPause is how long the work on an item takes.
	copyPause = 5 * time.Millisecond
)

// A deed is a line of the witness, a file to which all takers append.
type deed struct {
	What    deedKind `json:"what"`
	ID      string   `json:"id"`
	Fence   uint64   `json:"fence"`
	Attempt int      `json:"attempt"`
	N       int      `json:"n"`
}

type deedKind string

const (
	begun  deedKind = "begun"  // a run begins, with item N the last one of its checkpoint
	worked deedKind = "worked" // on item N
	kept   deedKind = "kept"   // the checkpoint after item N is on disk
	over   deedKind = "over"   // the run has returned
)

// copyItem is the checkpoint of the operation "copy".
type copyItem struct{ N int }

// copying returns the operation "copy". It works on items one after the other. After half of them it waits for the file
// gate, unless that is "".
func copying(witness *os.File, gate string) kapi.Definition {
	return kapi.Definition{
		Name: "copy", Title: "Copying", Resume: &kapi.Resume{Takeovers: 1000},
		Run: func(ctx context.Context, h kapi.OperationHandle, _ json.RawMessage) (err error) {
			note := func(what deedKind, n int) error {
				line, err := json.Marshal(deed{what, h.ID(), h.Fence(), h.Attempt(), n})
				if err == nil {
					_, err = witness.Write(append(line, '\n')) // one write
				}
				return err
			}
			var at copyItem
			if _, err := h.Restore(&at); err != nil {
				return err
			}
			if err := note(begun, at.N); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, note(over, at.N)) }()
			for at.N < copyItems {
				if err := h.Proceed(ctx); err != nil {
					return err
				}
				at.N++
				if err := note(worked, at.N); err != nil {
					return err
				}
				<-time.After(copyPause)
				if err := h.Checkpoint(at); err != nil {
					return err
				}
				if err := note(kept, at.N); err != nil {
					return err
				}
				h.SetProgress(float64(at.N) / copyItems)
				if at.N == copyItems/2 {
					waitFor(ctx, gate)
				}
			}
			return nil
		},
	}
}

// waitFor waits for a file, or for the end of ctx.
func waitFor(ctx context.Context, file string) {
	for ctx.Err() == nil && file != "" {
		if _, err := os.Stat(file); err == nil {
			return
		}
		<-time.After(copyPause)
	}
}

// takerMain takes a store, the witness and the gate. It offers the operation "copy" until it gets SIGTERM.
func takerMain(args []string) error {
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM)
	witness, err := os.OpenFile(args[1], os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	store, err := openStore(args[0])
	if err != nil {
		return err
	}
	options := peer.Options{Logger: quiet(), Operations: []kapi.Definition{copying(witness, args[2])}}
	p, err := peer.Open(context.Background(), store, options)
	if err != nil {
		return err
	}
	fmt.Println("offers")
	<-terms
	return p.Close()
}

// saverMain takes a store and a number. It starts an operation that prints its action's id, saves the number, and kills
// its process at once.
func saverMain(args []string) error {
	store, err := openStore(args[0])
	if err != nil {
		return err
	}
	save := kapi.Definition{
		Name: "save", Title: "Saving", Resume: &kapi.Resume{},
		Run: func(_ context.Context, h kapi.OperationHandle, _ json.RawMessage) error {
			fmt.Println(h.ID())
			if err := h.Checkpoint(args[1]); err != nil {
				return err
			}
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		},
	}
	p, err := peer.Open(context.Background(), store, peer.Options{Logger: quiet(), Operations: []kapi.Definition{save}})
	if err != nil {
		return err
	}
	_, err = p.StartOperation(context.Background(), "save", nil, kapi.StartOptions{})
	if err == nil {
		<-time.After(kapitest.Patience) // it is killed before that
	}
	return errors.Join(err, errors.New("its operation has ended"), p.Close())
}

// starterMain takes a store. For each line of its input it starts the operation "copy", and prints the action's id. It
// offers nothing.
func starterMain(args []string) error {
	store, err := openStore(args[0])
	if err != nil {
		return err
	}
	p, err := peer.Open(context.Background(), store, peer.Options{Logger: quiet()})
	if err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		s, err := p.StartOperation(context.Background(), "copy", nil, kapi.StartOptions{By: "ann"})
		if err != nil {
			return errors.Join(err, p.Close())
		}
		fmt.Println(s.Action.ID)
	}
	return p.Close()
}
