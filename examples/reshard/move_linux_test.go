package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kettubot/kapi"
)

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

// leaveOpen begins to move a slot, and hands over before the first MIGRATE.
func (d *desk) leaveOpen(from, to *server) {
	d.t.Helper()
	d.before = func(tr *trial) {
		if tr.calls == 4 {
			tr.handOver()
		}
	}
	if err := d.attempt(); !errors.Is(err, kapi.ErrStopped) {
		d.t.Fatalf("the attempt that was stopped returned %v", err)
	}
	if len(from.view().open) != 1 || len(to.view().open) != 1 {
		d.t.Fatalf("open are %v and %v, want one each", from.view().open, to.view().open)
	}
	d.before = nil
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
	t.Parallel()
	all := startCluster(t)
	from, to, other := all[0], all[1], all[2]

	// A key in both nodes has the source's value, to which clients have written.
	t.Run("copy", func(t *testing.T) {
		key, d := keyIn(1), newDesk(t, between(from, to, "1"))
		from.must("set", key, "old")
		d.leaveOpen(from, to)
		copyKey(t, from, to, key)
		from.must("set", key, "new")
		if err := d.attempt(); err != nil {
			t.Fatal(err)
		}
		wantClosed(t, from, to, 1)
		wantValue(t, to, key, "new")
	})

	// Keys in the target of a slot that nobody has opened may be newer than the source's: somebody else has closed it.
	t.Run("closed", func(t *testing.T) {
		key, d := keyIn(2), newDesk(t, between(from, to, "2"))
		from.must("set", key, "old")
		d.leaveOpen(from, to)
		copyKey(t, from, to, key)
		from.must("cluster", "setslot", 2, "stable")
		var refused *refusal
		if err := d.attempt(); !errors.As(err, &refused) {
			t.Errorf("the attempt returned %v, want a refusal", err)
		}
		wantValue(t, from, key, "old")
		to.must("cluster", "setslot", 2, "stable")
	})

	// What is under way from an earlier MIGRATE doesn't arrive after a later one.
	t.Run("transfer", func(t *testing.T) {
		d := newDesk(t, between(from, to, "3"))
		from.must("set", keyIn(3), "value")
		d.leaveOpen(from, to)
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
		if err := d.attempt(); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if n, err := conn.Read(answer); err == nil || isTimeout(err) {
			t.Errorf("the connection is still open: %q, %v", answer[:n], err)
		}
	})

	t.Run("cancel", func(t *testing.T) { testCancel(t, from, to) })
	t.Run("done", func(t *testing.T) { testDone(t, from, to) })
	t.Run("slow", func(t *testing.T) { testSlow(t, from, to, other) })
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// A cancel lets the slot in hand end, and the next one alone.
func testCancel(t *testing.T, from, to *server) {
	from.must("set", keyIn(4), "value")
	d := newDesk(t, between(from, to, "4-5"))
	state := ""
	d.before = func(tr *trial) {
		switch tr.calls {
		case 4:
			tr.cancel()
		case 5:
			eventually(t, patience, func() error {
				a, err := tr.peer.Get(context.Background(), tr.ID())
				if state = a.State; err == nil && a.State != "slot 4 (1 of 2): finishing it, then stopping" {
					err = errors.New("the state is " + a.State)
				}
				return err
			})
		}
	}
	var cancelled *kapi.CancelledError
	if err := d.attempt(); !errors.As(err, &cancelled) || cancelled.By != "ann" {
		t.Errorf("returned %v, want the cancel", err)
	}
	if state == "" {
		t.Error("the slot was not finished")
	}
	wantClosed(t, from, to, 4)
	if v := from.view(); v.openOf(5) != nil || v.owner[5].id != from.id {
		t.Error("the next slot was begun")
	}
}

// Another runner sees that the work is over, and does nothing to the slot that could do harm.
func testDone(t *testing.T, from, to *server) {
	d := newDesk(t, between(from, to, "6"))
	d.before = func(tr *trial) {
		if to.view().owner[6].id == to.id && from.view().openOf(6) == nil {
			tr.handOver() // before the third node is told
		}
	}
	if err := d.attempt(); !errors.Is(err, kapi.ErrStopped) {
		t.Fatalf("the attempt that was stopped returned %v", err)
	}
	wantClosed(t, from, to, 6)
	fence := d.trial.Fence()
	d.before = nil
	if err := d.attempt(); err != nil || d.trial.Fence() <= fence {
		t.Fatalf("under fence %d, after %d: %v", d.trial.Fence(), fence, err)
	}
	wantClosed(t, from, to, 6)
}

// While the target hangs, the operation is impacted; when it answers again, the keys arrive. A key that is larger than
// a batch has its own limit of time.
func testSlow(t *testing.T, from, to, other *server) {
	key, small := keyIn(7), keyIn(7)+"small"
	from.must("set", key, strings.Repeat("x", 5000))
	from.must("set", small, "value")
	d := newDesk(t, between(from, to, "7", "batch_ms", 100, "batch_bytes", 1000, "big_ms", 300))
	limits := map[string]map[string]bool{key: {}, small: {}}
	d.Connect = func(o *redis.Options) *redis.Client {
		client := redis.NewClient(o)
		client.AddHook(noting(limits))
		return client
	}
	d.before = func(tr *trial) {
		if tr.calls == 4 {
			to.signal(syscall.SIGSTOP) // before MIGRATE
		}
	}
	if err := d.begin(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 15*time.Second, func() error {
		list, err := d.trial.peer.List(t.Context())
		if err == nil && (len(list) != 1 || list[0].Status != kapi.StatusImpacted || !strings.HasPrefix(list[0].State, "slot 7 (1 of 1): key ")) {
			err = fmt.Errorf("it isn't impacted, with the key's name: %+v", list)
		}
		return err
	})
	to.signal(syscall.SIGCONT)
	if err := <-d.trial.ended; err != nil {
		t.Fatal(err)
	}
	wantClosed(t, from, to, 7)
	if got := to.must("strlen", key); got != int64(5000) {
		t.Errorf("the key has %v bytes", got)
	}
	wantValue(t, to, small, "value")
	if v := other.view(); v.owner[7].id != to.id {
		t.Errorf("the third node says that %v has the slot", v.owner[7])
	}
	if want := map[string]map[string]bool{key: {"300": true}, small: {"100": true}}; !reflect.DeepEqual(limits, want) {
		t.Errorf("the limits of MIGRATE were %v, want %v", limits, want)
	}
}

// noting notes the limits of time that each MIGRATE of a key has.
type noting map[string]map[string]bool

func (n noting) DialHook(next redis.DialHook) redis.DialHook { return next }

func (n noting) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (n noting) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if args := words(cmd); args[0] == "migrate" {
			for key, limits := range n {
				if slices.Contains(args[6:], key) {
					limits[args[5]] = true
				}
			}
		}
		return next(ctx, cmd)
	}
}

// A source that has restarted may have forgotten that a key was moved. So which of two is newer can't be told.
func TestCopyAfterRestart(t *testing.T) {
	t.Parallel()
	all := startCluster(t)
	from, to := all[0], all[1]
	key, d := keyIn(1), newDesk(t, between(from, to, "1"))
	from.must("set", key, "old")
	from.must("save")
	d.leaveOpen(from, to)
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
	if err := d.attempt(); !errors.As(err, &refused) {
		t.Fatalf("the attempt returned %v, want a refusal", err)
	}
	from.must("del", key) // what the refusal asks for
	if err := d.attempt(); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, from, to, 1)
	wantValue(t, to, key, "new")
}

// The password reaches the nodes and MIGRATE, and no argument, state or error.
func TestPassword(t *testing.T) {
	t.Parallel()
	const password = "correct-horse"
	all := startCluster(t, "--requirepass", password, "--masterauth", password)
	from, to := all[0], all[1]
	from.must("set", keyIn(1), "value")
	d := newDesk(t, between(from, to, "1", "patience_s", 0))
	d.Password = "wrong-horse"
	var refused *kapi.PreflightError
	if err := d.attempt(); !errors.As(err, &refused) || strings.Contains(err.Error(), "horse") {
		t.Errorf("with a wrong password: %v", err)
	}
	for slot, c := range map[string]config{"1": {Password: password}, "2": {User: "default", Password: password}} {
		d := newDesk(t, between(from, to, slot))
		d.config = c
		if err := d.attempt(); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(d.store + "*")
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, file := range files {
			if data, err := os.ReadFile(file); err != nil || bytes.Contains(data, []byte(password)) {
				t.Errorf("%s has the password, or can't be read: %v", file, err)
			}
		}
	}
	wantClosed(t, from, to, 1)
	wantClosed(t, from, to, 2)
}
