package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// checked returns arguments as a start would hand them to the operation.
func checked(t *testing.T, fields map[string]any) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	d := define(config{}, slog.New(slog.DiscardHandler))
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	args, wrong := d.Check(text)
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	return args
}

// A stage is a cluster under load, some of whose slots are moved.
type stage struct {
	nodes    [3]*server
	slots    []int
	load     *load
	bigKey   string
	bigBytes int
}

func newStage(t *testing.T, keys, bigBytes int) *stage {
	t.Helper()
	s := &stage{nodes: startCluster(t), bigBytes: bigBytes}
	for slot := range 200 {
		s.slots = append(s.slots, slot)
	}
	s.bigKey = "{" + tagsOf([]int{60})[0] + "}:big"
	var addrs []string
	for _, n := range s.nodes {
		addrs = append(addrs, n.addr)
	}
	s.load = newLoad(t, addrs, keys, s.slots, s.bigKey, bigBytes)
	return s
}

func (s *stage) arguments(t *testing.T, from, to *server) json.RawMessage {
	t.Helper()
	return checked(t, map[string]any{
		"addrs": []string{s.nodes[2].addr, from.addr}, "from": from.addr, "to": to.id, "slots": formatSlots(s.slots),
		"batch_keys": 10, "batch_bytes": 1 << 20, "big_ms": 1500, "patience_s": 60,
	})
}

// check looks at what a resharding has left, while the load goes on.
func (s *stage) check(t *testing.T, folder string, from, to *server) {
	t.Helper()
	for _, n := range s.nodes {
		v := n.view()
		if len(v.open) > 0 {
			t.Errorf("%s has open slots: %v", n.addr, v.open)
		}
		for _, slot := range s.slots {
			if owner := v.owner[slot]; owner == nil || owner.id != to.id {
				t.Errorf("%s says that slot %d belongs to %v", n.addr, slot, owner)
			}
		}
	}
	for _, slot := range s.slots {
		if left := from.keysIn(slot); left > 0 {
			t.Errorf("%d keys of slot %d are left in the source", left, slot)
		}
	}
	last := 0.0
	for _, line := range lines(t, folder, "progress") {
		p := 0.0
		if _, err := fmt.Sscan(line, &p); err != nil || p < last {
			t.Errorf("progress went from %v to %q", last, line)
		}
		last = max(last, p)
	}
	if last != 1 {
		t.Errorf("the progress ends at %v", last)
	}
	checkWitness(t, folder)
}

// checkWitness: once a slot was worked on under a fence, nothing is done to it under an older one.
func checkWitness(t *testing.T, folder string) {
	t.Helper()
	newest := map[int]int{}
	for _, line := range lines(t, folder, "witness") {
		var fence, slot int
		if _, err := fmt.Sscan(line, &fence, &slot); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if fence < newest[slot] {
			t.Errorf("slot %d was worked on under fence %d, and then: %s", slot, newest[slot], line)
		}
		newest[slot] = fence
	}
}

// A resharding is killed once in each of the moments between which it can leave a slot half moved, and goes on.
func TestKilledAtEachMoment(t *testing.T) {
	s := newStage(t, 5000, 5<<20)
	from, to := s.nodes[0], s.nodes[1]
	c := child{Folder: t.TempDir(), Arguments: s.arguments(t, from, to), Key: s.bigKey, Target: to.cmd.Process.Pid}
	s.load.start(s.bigKey)
	for _, moment := range []struct {
		kill        string
		count       int
		left        string // of the slot: the last words of the witness
		source, was []open // what is open then
	}{
		{kill: afterImporting, count: 20, left: "19 ended setslot importing " + to.addr, was: []open{{19, true, from.id}}},
		{kill: afterMigrating, count: 20, left: "38 ended setslot migrating " + from.addr, source: []open{{38, false, to.id}}, was: []open{{38, true, from.id}}},
		{kill: duringMigrate, left: "60 begins migrate " + from.addr, source: []open{{60, false, to.id}}, was: []open{{60, true, from.id}}},
		{kill: afterNode, count: 3*50 + 1, left: "110 ended setslot node " + to.addr},
	} {
		c.Kill, c.Count = moment.kill, moment.count
		if !killed(t, startChild(t, c), c.Folder) {
			t.Fatalf("the resharding ended before the moment %q", moment.kill)
		}
		witness := lines(t, c.Folder, "witness")
		if last := witness[len(witness)-1]; !strings.HasSuffix(last, " "+moment.left) {
			t.Fatalf("killed at %q, want %q", last, moment.left)
		}
		if moment.kill == duringMigrate {
			s.endMigrate(t, from, to)
		}
		if source, target := from.view().open, to.view().open; moment.kill != afterNode && !slices.Equal(source, moment.source) || !slices.Equal(target, moment.was) {
			t.Errorf("after %s: open are %v and %v, want %v and %v", moment.kill, source, target, moment.source, moment.was)
		}
	}
	c.Kill = ""
	if killed(t, startChild(t, c), c.Folder) {
		t.Fatal("the last attempt was killed")
	}
	s.check(t, c.Folder, from, to)
	acks := s.load.end()
	exist := s.load.checkAll(t, s.bigKey, s.bigBytes)
	there := int64(0)
	for _, slot := range s.slots {
		there += to.keysIn(slot)
	}
	if int64(exist) != there {
		t.Errorf("clients see %d keys, the target has %d", exist, there)
	}
	t.Logf("%d writes were acknowledged", acks)
	if acks < 100 {
		t.Errorf("only %d writes were acknowledged", acks)
	}
}

// endMigrate waits until MIGRATE has timed out in the source, and lets the target go on: it finds the key in its
// buffers. So now, or nearly, the key is in both.
func (s *stage) endMigrate(t *testing.T, from, to *server) {
	t.Helper()
	from.must("ping") // answered when MIGRATE has ended
	to.signal(syscall.SIGCONT)
	if n := from.keysIn(60); n == 0 {
		t.Error("MIGRATE was killed too late: the source has no key any more")
	}
	eventually(t, 10*time.Second, func() error {
		if to.keysIn(60) == 0 {
			return errors.New("the target has not read the key")
		}
		return nil
	})
}

// With KAPI_SOAK: 100 reshardings, there and back, killed at any moment.
func TestKilledAtAnyMoment(t *testing.T) {
	rounds, keys, bigBytes, most := 2, 2000, 2<<20, 600*time.Millisecond
	if os.Getenv("KAPI_SOAK") != "" {
		rounds, keys, bigBytes, most = 100, 50_000, 50<<20, 3*time.Second
	}
	s := newStage(t, keys, bigBytes)
	from, to := s.nodes[0], s.nodes[1]
	s.load.start(s.bigKey)
	kills := 0
	for round := range rounds {
		c := child{Folder: filepath.Join(t.TempDir()), Arguments: s.arguments(t, from, to)}
		for attempt := 0; ; attempt++ {
			cmd := startChild(t, c)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				if attempt < 4 {
					time.Sleep(rand.N(most))
					_ = cmd.Process.Kill()
				}
			}()
			again := killed(t, cmd, c.Folder)
			<-ended
			if !again {
				break
			}
			kills++
		}
		s.check(t, c.Folder, from, to)
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
		from, to = to, from
	}
	acks := s.load.end()
	s.load.checkAll(t, s.bigKey, s.bigBytes)
	t.Logf("%d kills, %d acknowledged writes", kills, acks)
	if kills == 0 || acks < 100 {
		t.Errorf("%d kills, %d acknowledged writes: the test shows nothing", kills, acks)
	}
}
