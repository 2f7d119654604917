package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kettubot/kapi"
)

// attempt runs, or goes on with, a resharding in this process.
func attempt(t *testing.T, ctx context.Context, h *fileHandle, c config, fields map[string]any) error {
	t.Helper()
	return define(c, slog.New(slog.DiscardHandler)).Run(ctx, h, checked(t, fields))
}

// between returns the arguments to move slots from one node to another.
func between(from, to *server, slots string, more ...any) map[string]any {
	fields := map[string]any{"addrs": []string{from.addr}, "from": from.id, "to": to.id, "slots": slots, "patience_s": 20}
	for i := 0; i+1 < len(more); i += 2 {
		fields[more[i].(string)] = more[i+1]
	}
	return fields
}

// keyIn returns a key of a slot.
func keyIn(slot int) string { return "{" + tagsOf([]int{slot})[0] + "}key" }

// stopAt makes an attempt end before its nth effect, as a planned stop does.
func stopAt(n int) func(int) error {
	return func(call int) error {
		if call >= n {
			return kapi.ErrStopped
		}
		return nil
	}
}

// leaveOpen begins to move a slot, and stops before the first MIGRATE. The calls of Proceed are the one between slots,
// IMPORTING, MIGRATING and MIGRATE.
func leaveOpen(t *testing.T, from, to *server, folder string, fields map[string]any) {
	t.Helper()
	h := newHandle(t, folder)
	h.permit = stopAt(4)
	if err := attempt(t, t.Context(), h, config{}, fields); !errors.Is(err, kapi.ErrStopped) {
		t.Fatalf("the attempt that was stopped returned %v", err)
	}
	if len(from.view().open) != 1 || len(to.view().open) != 1 {
		t.Fatalf("open are %v and %v, want one each", from.view().open, to.view().open)
	}
}

// copyKey leaves a key in both nodes, as a MIGRATE does that is interrupted after the target has taken the key.
func copyKey(t *testing.T, from, to *server, key string) {
	t.Helper()
	host, port, _ := splitAddr(to.addr)
	from.must("migrate", host, port, key, 0, 1000, "copy")
}

func wantClosed(t *testing.T, from, to *server, slot int) {
	t.Helper()
	for _, n := range []*server{from, to} {
		if v := n.view(); v.openOf(slot) != nil || v.owner[slot].id != to.id {
			t.Errorf("%s: slot %d is open (%v), or belongs to %v", n.addr, slot, v.openOf(slot), v.owner[slot])
		}
	}
	if n := from.keysIn(slot); n != 0 {
		t.Errorf("the source still has %d keys", n)
	}
}

func wantValue(t *testing.T, n *server, key, want string) {
	t.Helper()
	if got := n.must("get", key); got != want {
		t.Errorf("%s has %v, want %q", key, got, want)
	}
}

func TestMove(t *testing.T) {
	all := startCluster(t)
	from, to, other := all[0], all[1], all[2]

	// A key in both nodes has the source's value, to which clients have written.
	t.Run("copy", func(t *testing.T) {
		key, folder, fields := keyIn(1), t.TempDir(), between(from, to, "1")
		from.must("set", key, "old")
		leaveOpen(t, from, to, folder, fields)
		copyKey(t, from, to, key)
		from.must("set", key, "new")
		if err := attempt(t, t.Context(), newHandle(t, folder), config{}, fields); err != nil {
			t.Fatal(err)
		}
		wantClosed(t, from, to, 1)
		wantValue(t, to, key, "new")
	})

	// Keys in the target of a slot that nobody has opened may be newer than the source's: somebody else has closed it.
	t.Run("closed", func(t *testing.T) {
		key, folder, fields := keyIn(2), t.TempDir(), between(from, to, "2")
		from.must("set", key, "old")
		leaveOpen(t, from, to, folder, fields)
		copyKey(t, from, to, key)
		from.must("cluster", "setslot", 2, "stable")
		var refused *refusal
		if err := attempt(t, t.Context(), newHandle(t, folder), config{}, fields); !errors.As(err, &refused) {
			t.Errorf("the attempt returned %v, want a refusal", err)
		}
		wantValue(t, from, key, "old")
		to.must("cluster", "setslot", 2, "stable")
	})

	// What is under way from an earlier MIGRATE doesn't arrive after a later one.
	t.Run("transfer", func(t *testing.T) {
		folder, fields := t.TempDir(), between(from, to, "3")
		from.must("set", keyIn(3), "value")
		leaveOpen(t, from, to, folder, fields)
		conn, err := net.Dial("tcp", to.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		answer := make([]byte, 64)
		if _, err := conn.Write([]byte("SELECT 0\r\n")); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(answer); err != nil || string(answer[:n]) != "+OK\r\n" {
			t.Fatalf("%q, %v", answer[:n], err)
		}
		if err := attempt(t, t.Context(), newHandle(t, folder), config{}, fields); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if n, err := conn.Read(answer); err == nil || isTimeout(err) {
			t.Errorf("the connection is still open: %q, %v", answer[:n], err)
		}
	})

	// A cancel lets the slot in hand end, and the next one alone.
	t.Run("cancel", func(t *testing.T) {
		from.must("set", keyIn(4), "value")
		h := newHandle(t, t.TempDir())
		h.permit = func(call int) error {
			if call >= 4 {
				return &kapi.CancelledError{By: "ann"}
			}
			return nil
		}
		var cancelled *kapi.CancelledError
		if err := attempt(t, t.Context(), h, config{}, between(from, to, "4-5")); !errors.As(err, &cancelled) {
			t.Errorf("returned %v, want the cancel", err)
		}
		wantClosed(t, from, to, 4)
		if v := from.view(); v.openOf(5) != nil || v.owner[5].id != from.id {
			t.Error("the next slot was begun")
		}
		states := strings.Join(lines(t, h.folder, "states"), "\n")
		if !strings.Contains(states, "slot 4 (1 of 2): finishing it, then stopping") {
			t.Errorf("the states were\n%s", states)
		}
	})

	// Another runner sees that the work is over, and does nothing to the slot that could do harm.
	t.Run("done", func(t *testing.T) {
		folder, fields := t.TempDir(), between(from, to, "6")
		for range 2 {
			if err := attempt(t, t.Context(), newHandle(t, folder), config{}, fields); err != nil {
				t.Fatal(err)
			}
			wantClosed(t, from, to, 6)
		}
	})

	t.Run("slow", func(t *testing.T) { testSlow(t, from, to, other) })
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// While the target hangs, the operation is impacted; when it answers again, the keys arrive.
func testSlow(t *testing.T, from, to, other *server) {
	key := keyIn(7)
	from.must("set", key, strings.Repeat("x", 5000))
	h := newHandle(t, t.TempDir())
	h.permit = func(call int) error {
		if call == 4 {
			to.signal(syscall.SIGSTOP) // before MIGRATE
		}
		return nil
	}
	ended := make(chan error, 1)
	fields := between(from, to, "7", "batch_ms", 100, "batch_bytes", 1000, "big_ms", 300)
	args := checked(t, fields)
	go func() { ended <- define(config{}, slog.New(slog.DiscardHandler)).Run(t.Context(), h, args) }()
	eventually(t, 15*time.Second, func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.impacted == 0 {
			return errors.New("the operation isn't impacted")
		}
		return nil
	})
	to.signal(syscall.SIGCONT)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if h.recovered == 0 {
		t.Error("the operation didn't recover")
	}
	wantClosed(t, from, to, 7)
	if got := to.must("strlen", key); got != int64(5000) {
		t.Errorf("the key has %v bytes", got)
	}
	if states := lines(t, h.folder, "states"); !strings.Contains(strings.Join(states, "\n"), "impacted: slot 7 (1 of 1): key ") {
		t.Errorf("no state names the key: %q", states)
	}
	if v := other.view(); v.owner[7].id != to.id {
		t.Errorf("the third node says that %v has the slot", v.owner[7])
	}
}

// A source that has restarted may have forgotten that a key was moved. So which of two is newer can't be told.
func TestCopyAfterRestart(t *testing.T) {
	all := startCluster(t)
	from, to := all[0], all[1]
	key, folder, fields := keyIn(1), t.TempDir(), between(from, to, "1")
	from.must("set", key, "old")
	from.must("save")
	leaveOpen(t, from, to, folder, fields)
	host, port, _ := splitAddr(to.addr)
	from.must("migrate", host, port, key, 0, 1000) // it moves the key, which the source will have forgotten
	if _, err := to.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		p.Do(t.Context(), "asking")
		p.Do(t.Context(), "set", key, "new")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	from.restart()
	eventually(t, 20*time.Second, func() error {
		if parseInfo(from.ClusterInfo(t.Context()).Val())["cluster_state"] != "ok" {
			return errors.New("the cluster isn't well")
		}
		return nil
	})
	var refused *refusal
	if err := attempt(t, t.Context(), newHandle(t, folder), config{}, fields); !errors.As(err, &refused) {
		t.Fatalf("the attempt returned %v, want a refusal", err)
	}
	from.must("del", key) // what the refusal asks for
	if err := attempt(t, t.Context(), newHandle(t, folder), config{}, fields); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, from, to, 1)
	wantValue(t, to, key, "new")
}

// The password reaches the nodes and MIGRATE, and no argument, state or error.
func TestPassword(t *testing.T) {
	const password = "correct-horse"
	all := startCluster(t, "--requirepass", password, "--masterauth", password)
	from, to := all[0], all[1]
	from.must("set", keyIn(1), "value")
	fields := between(from, to, "1", "patience_s", 0)
	if err := attempt(t, t.Context(), newHandle(t, t.TempDir()), config{Password: "wrong-horse"}, fields); err == nil || strings.Contains(err.Error(), "horse") {
		t.Errorf("with a wrong password: %v", err)
	}
	for slot, c := range map[string]config{"1": {Password: password}, "2": {User: "default", Password: password}} {
		h := newHandle(t, t.TempDir())
		if err := attempt(t, t.Context(), h, c, between(from, to, slot)); err != nil {
			t.Fatal(err)
		}
		var stored json.RawMessage
		if _, err := h.Load("plan", &stored); err != nil || strings.Contains(string(stored), password) {
			t.Errorf("the plan is %s, %v", stored, err)
		}
	}
	wantClosed(t, from, to, 1)
	wantClosed(t, from, to, 2)
}
