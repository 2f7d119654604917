package acceptance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/peer"
)

// Short limits, so that a test sees both expire. Between them there is time for a check, which may be
// late on a busy machine.
const (
	lease  = time.Second
	giveUp = 5 * time.Second
)

const (
	lastState    = "slot 42"
	lastProgress = 0.25
	key          = "reshard"
)

// runnerMain takes a store. It starts one action, prints its id, and works until standard input ends;
// for each line there it stops itself as Ctrl-Z would. If its context ends, it prints why.
func runnerMain(args []string) error {
	store, err := openStore(args[0])
	if err != nil {
		return err
	}
	peer, err := peer.Open(context.Background(), store, peer.Options{Logger: quiet(), Lease: lease, GiveUp: giveUp})
	if err != nil {
		return err
	}
	spec := kapi.Spec{Title: "Resharding", Keys: []string{key}, ReleaseOnFailure: true}
	err = peer.Do(context.Background(), spec, func(ctx context.Context, h kapi.Handle) error {
		defer context.AfterFunc(ctx, func() { fmt.Println(context.Cause(ctx)) })()
		h.SetProgress(lastProgress)
		h.SetState(lastState)
		fmt.Println(h.ID())
		in := bufio.NewReader(os.Stdin)
		for {
			if _, err := in.ReadString('\n'); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			// A process that is stopped inside a write would lock everybody out.
			store.(interface{ Quiesce(func()) }).Quiesce(func() { err = syscall.Kill(os.Getpid(), syscall.SIGSTOP) })
			if err != nil {
				return err
			}
		}
	})
	return errors.Join(err, peer.Close())
}

// startRunner returns a runner, its action, and a peer of the test's that watches it.
func startRunner(t *testing.T, store string, wrap ...string) (*process, kapi.Action, *peer.Peer) {
	t.Helper()
	runner := role(t, "runner", []string{store}, wrap...)
	id := runner.line()
	peer := openPeer(t, store)
	return runner, awaitAction(t, peer, id, "running as reported", asItSaid), peer
}

func asItSaid(a kapi.Action) bool {
	return a.Status == kapi.StatusRunning && a.State == lastState && a.Progress != nil && *a.Progress == lastProgress
}

func (p *process) stopItself() {
	p.t.Helper()
	if _, err := io.WriteString(p.stdin, "stop\n"); err != nil {
		p.t.Fatal(err)
	}
}

func openPeer(t *testing.T, place string) *peer.Peer {
	t.Helper()
	store, err := openStore(place)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := peer.Open(context.Background(), store, peer.Options{Logger: quiet(), Lease: lease, GiveUp: giveUp})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := peer.Close(); err != nil {
			t.Error(err)
		}
	})
	return peer
}

// awaitAction waits until an ongoing action satisfies is.
func awaitAction(t *testing.T, peer *peer.Peer, id, what string, is func(kapi.Action) bool) (a kapi.Action) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("waited for %s; last seen: %+v", what, a)
		}
	})
	kapitest.Eventually(t, "action "+id+" is "+what, func() bool {
		var err error
		if a, err = peer.Get(context.Background(), id); err != nil {
			t.Fatalf("waited for action %s to be %s: %v", id, what, err)
		}
		return is(a)
	})
	return a
}

func awaitEnd(t *testing.T, peer *peer.Peer, id string) {
	t.Helper()
	kapitest.Eventually(t, "action "+id+" has ended", func() bool {
		_, err := peer.Get(context.Background(), id)
		return errors.Is(err, kapi.ErrUnknown)
	})
}

func inStatus(s kapi.Status) func(kapi.Action) bool {
	return func(a kapi.Action) bool { return a.Status == s }
}

// mustStay checks that no action changes for a long time, although the runner is silent.
func mustStay(t *testing.T, peer *peer.Peer) {
	t.Helper()
	watch, err := peer.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	long, cancel := context.WithTimeout(t.Context(), 3*giveUp)
	defer cancel()
	if a, err := watch.Next(long); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while its runner was stopped, it became %+v (%v)", a, err)
	}
}

// mustHold checks that nobody else gets the key, and that the refusal names its holder.
func mustHold(t *testing.T, peer *peer.Peer, id string) {
	t.Helper()
	err := tryKey(peer)
	var held *kapi.HeldError
	if !errors.As(err, &held) || held.Holder.ID != id {
		t.Errorf("a start with the key of action %s: %v", id, err)
	}
}

func mustBeFree(t *testing.T, peer *peer.Peer) {
	t.Helper()
	if err := tryKey(peer); err != nil {
		t.Errorf("a start with the freed key: %v", err)
	}
}

func tryKey(peer *peer.Peer) error {
	spec := kapi.Spec{Title: "Another", Keys: []string{key}}
	return peer.Do(context.Background(), spec, func(context.Context, kapi.Handle) error { return nil })
}
