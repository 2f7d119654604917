package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/postgres"
	"github.com/kettubot/kapi/sqlite"
)

// The test binary is also the other process that some measurements need. If its environment names a
// role it plays that, until stdin ends, on the store that is named too if the role needs one.
const (
	roleVariable  = "KAPI_BENCH_ROLE"
	storeVariable = "KAPI_BENCH_STORE"
)

var roles = map[string]func() error{
	"watch": onStore(watch), "idle": onStore(idle), "lifecycles": onStore(lifecycles),
	"gateway": onStore(serveGateway), "list": onStore(serveLists),
	"websocket": bareWebSocket, "tcp": bareTCP, "readers": readers,
}

func TestMain(m *testing.M) {
	role, ok := roles[os.Getenv(roleVariable)]
	if !ok {
		os.Exit(m.Run())
	}
	if err := role(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A joined is a peer of this process, with its store.
type joined struct {
	*peer.Peer
	store anyStore
}

// An anyStore is one of kapi's two stores.
type anyStore interface {
	store.Store
	auth.Tokens
}

// openStore opens the store at a path or a DSN.
func openStore(at string) (anyStore, error) {
	if strings.HasPrefix(at, "postgres:") {
		return postgres.Open(context.Background(), at, postgres.Options{})
	}
	return sqlite.Open(at)
}

func onStore(role func(joined) error) func() error {
	return func() error {
		s, err := openStore(os.Getenv(storeVariable))
		if err != nil {
			return err
		}
		peer, err := peer.Open(context.Background(), s, peer.Options{})
		if err != nil {
			return err
		}
		defer peer.Close()
		return role(joined{peer, s})
	}
}

// watch prints each state with the time at which it saw it, in nanoseconds since 1970.
func watch(peer joined) error {
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

// idle prints how many microseconds of CPU the peer used between "ready" and the end of stdin.
func idle(joined) error {
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
