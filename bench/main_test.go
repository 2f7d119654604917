package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/sqlite"
)

// The test binary is also the other process that some measurements need: with a role in
// its environment it plays that, on the store named beside it, until stdin ends.
const (
	roleVariable  = "KAPI_BENCH_ROLE"
	storeVariable = "KAPI_BENCH_STORE"
)

func TestMain(m *testing.M) {
	role, ok := map[string]func(*kapi.Peer) error{"watch": watch, "idle": idle}[os.Getenv(roleVariable)]
	if !ok {
		os.Exit(m.Run())
	}
	if err := play(role); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func play(role func(*kapi.Peer) error) error {
	s, err := sqlite.Open(os.Getenv(storeVariable))
	if err != nil {
		return err
	}
	peer, err := kapi.Open(context.Background(), s, kapi.Options{})
	if err != nil {
		return err
	}
	defer peer.Close()
	return role(peer)
}

// watch prints when it saw which state, in nanoseconds since 1970.
func watch(peer *kapi.Peer) error {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	w, err := peer.Watch(ctx)
	if err != nil {
		return err
	}
	defer w.Close()
	fmt.Println("ready")
	for {
		a, err := w.Next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Println(time.Now().UnixNano(), a.State)
	}
}

// idle prints how many microseconds of CPU the peer used from "ready" to the end of stdin.
func idle(*kapi.Peer) error {
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		return err
	}
	spent := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	fmt.Println(spent / 1000)
	return nil
}
