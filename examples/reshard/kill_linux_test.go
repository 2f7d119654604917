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

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
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

// A stage is a cluster under load, some of whose slots are moved, and a store.
type stage struct {
	child
	nodes    [3]*server
	slots    []int
	load     *load
	bigBytes int
	bigMS    int
	control  *control
}

// newStage makes a stage with the slots from 0 on, of which slot 60 has the big key. store is a value for serve.
func newStage(t *testing.T, store string, slots, keys, bigBytes int) *stage {
	t.Helper()
	s := &stage{nodes: startCluster(t), bigBytes: bigBytes, bigMS: 1500}
	s.child = child{Store: store, Folder: t.TempDir(), Lease: lease, GiveUp: giveUp}
	for slot := range slots {
		s.slots = append(s.slots, slot)
	}
	s.Key = "{" + tagsOf([]int{60})[0] + "}:big"
	var addrs []string
	for _, n := range s.nodes {
		addrs = append(addrs, n.addr)
	}
	s.load = newLoad(t, addrs, keys, s.slots, s.Key, bigBytes)
	s.control = newControl(t, store, peer.Options{Lease: lease, GiveUp: giveUp})
	return s
}

const lease, giveUp = 2 * time.Second, 6 * time.Second

func inFile(t *testing.T) string { return filepath.Join(t.TempDir(), "kapi.db") }

func (s *stage) arguments(t *testing.T, from, to *server) json.RawMessage {
	t.Helper()
	return s.moving(t, from, to, formatSlots(s.slots))
}

func (s *stage) moving(t *testing.T, from, to *server, slots string) json.RawMessage {
	t.Helper()
	return checked(t, map[string]any{
		"addrs": []string{s.nodes[2].addr, from.addr}, "from": from.addr, "to": to.id, "slots": slots,
		"batch_keys": 10, "batch_bytes": 1 << 20, "big_ms": s.bigMS, "patience_s": 60,
	})
}

// check looks at what a resharding has left, while the load goes on.
func (s *stage) check(t *testing.T, from, to *server) {
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
}

// checkWitness: no slot was worked on under a fence, and then under an older one. It returns the fences in order.
func (s *stage) checkWitness(t *testing.T) (fences []int) {
	t.Helper()
	newest := map[int]int{}
	for _, line := range lines(t, s.Folder, "witness") {
		var fence, slot int
		if _, err := fmt.Sscan(line, &fence, &slot); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if fence < newest[slot] {
			t.Errorf("slot %d was worked on under fence %d, and then: %s", slot, newest[slot], line)
		}
		newest[slot] = fence
		if !slices.Contains(fences, fence) {
			fences = append(fences, fence)
		}
	}
	if !slices.IsSorted(fences) {
		t.Errorf("the fences are %v", fences)
	}
	return fences
}

// checkKeys ends the load, and checks that no acknowledged write is lost, and that the target has all keys.
func (s *stage) checkKeys(t *testing.T, to *server) {
	t.Helper()
	acks := s.load.end()
	exist := s.load.checkAll(t, s.Key, s.bigBytes)
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

// A process is killed in each of the moments between which it can leave a slot half moved, and another one goes on.
func TestKilledAtEachMoment(t *testing.T) {
	t.Parallel()
	s := newStage(t, inFile(t), 200, 5000, 5<<20)
	from, to := s.nodes[0], s.nodes[1]
	s.Target = to.cmd.Process.Pid
	s.load.start(s.Key)
	id := ""
	for _, moment := range []struct {
		kill        string
		count       int
		left        string // of the slot: the last words of the witness
		source, was []open // what is open then
	}{
		{kill: importing, count: 20, left: "19 ended setslot importing " + to.addr, was: []open{{19, true, from.id}}},
		{kill: migrating, count: 20, left: "38 ended setslot migrating " + from.addr, source: []open{{38, false, to.id}}, was: []open{{38, true, from.id}}},
		{kill: migrate, left: "60 begins migrate " + from.addr, source: []open{{60, false, to.id}}, was: []open{{60, true, from.id}}},
		{kill: owning, count: 3*50 + 1, left: "110 ended setslot node " + to.addr},
	} {
		s.Kill, s.Count = moment.kill, moment.count
		p := startChild(t, s.child)
		if id == "" {
			id = s.control.begin(t, s.arguments(t, from, to))
		}
		p.awaitKill()
		witness := lines(t, s.Folder, "witness")
		if last := witness[len(witness)-1]; !strings.HasSuffix(last, " "+moment.left) {
			t.Fatalf("killed at %q, want %q", last, moment.left)
		}
		if moment.kill == migrate {
			s.endMigrate(t, from, to)
		}
		if source, target := from.view().open, to.view().open; moment.kill != owning && !slices.Equal(source, moment.source) || !slices.Equal(target, moment.was) {
			t.Errorf("after %s: open are %v and %v, want %v and %v", moment.kill, source, target, moment.source, moment.was)
		}
	}
	s.Kill = ""
	p := startChild(t, s.child)
	if last := s.control.checkEnd(t, id); last.Attempt != 5 {
		t.Errorf("it ended as %+v, want 5 attempts", last)
	}
	seen := map[float64]bool{}
	for _, a := range s.control.history(id) {
		if a.Progress != nil {
			seen[*a.Progress] = true
		}
	}
	if len(seen) < 5 {
		t.Errorf("the gateway showed the progress %v only", seen)
	}
	s.check(t, from, to)
	if fences := s.checkWitness(t); len(fences) != 5 {
		t.Errorf("the fences are %v, want 5", fences)
	}
	p.stop()
	s.checkKeys(t, to)
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
	t.Parallel()
	rounds, kills, keys, bigBytes, most := 2, 2, 2000, 2<<20, 600*time.Millisecond
	if os.Getenv("KAPI_SOAK") != "" {
		rounds, kills, keys, bigBytes, most = 100, 4, 50_000, 50<<20, 3*time.Second
	}
	s := newStage(t, inFile(t), 200, keys, bigBytes)
	from, to := s.nodes[0], s.nodes[1]
	s.load.start(s.Key)
	killed := 0
	for round := range rounds {
		p, id, progress := startChild(t, s.child), "", 0.0
		for n := range kills {
			if id == "" {
				id = s.control.begin(t, s.arguments(t, from, to))
			}
			a := s.control.await(t, id, "running in the new process", at(p))
			if n%2 == 1 { // three deaths at one place end it
				a = s.control.await(t, id, "further", func(a kapi.Action) bool { return ended(a) || a.Progress != nil && *a.Progress > progress })
			}
			if ended(a) {
				break
			}
			time.Sleep(rand.N(most))
			if a = s.control.newest(id); a.Progress != nil {
				progress = *a.Progress
			}
			signalTo(p.Process.Pid, syscall.SIGKILL)
			p.awaitKill()
			killed++
			p = startChild(t, s.child)
		}
		s.control.checkEnd(t, id)
		s.check(t, from, to)
		s.checkWitness(t)
		p.stop()
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
		from, to = to, from
	}
	s.checkKeys(t, from)
	t.Logf("%d kills", killed)
	if killed == 0 {
		t.Error("nothing was killed: the test shows nothing")
	}
}
