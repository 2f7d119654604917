package crowd

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/sqlite"
)

// ongoing measures `kapi run -- true` on stores with few and many ongoing actions, in turns. The actions are those of
// one peer in this process. A round of the others is many runs here, as one takes so little time.
func ongoing(b *testing.B, c *bench) {
	const runs = 7
	sizes := []int{1, *size, 10 * *size, 100 * *size}
	stores := make([]string, len(sizes))
	for i, n := range sizes {
		stores[i] = newStore(b, c.kapi)
		hold(b, stores[i], n)
	}
	wall, cpu := newFigures(len(sizes)), newFigures(len(sizes))
	resident, anonymous := newFigures(len(sizes)), newFigures(len(sizes))
	each("ongoing", func() {
		for range runs {
			for i, store := range stores {
				took, used := alone(b, c.kapi, "--store", store, "run", "--", "true")
				wall.add(i, 1000*took.Seconds())
				cpu.add(i, 1000*used.Seconds())
			}
		}
		for i, store := range stores {
			peak, own := memoryOfOne(b, c.kapi, store)
			resident.add(i, peak)
			anonymous.add(i, own)
		}
	})
	for i, n := range sizes {
		p := part{c.table, fmt.Sprintf("`kapi run -- true` beside %d ongoing", n), &tally{}}
		wall.rows(p, i, "duration", "ms", 1.2)
		cpu.rows(p, i, "processor", "ms", 1.2)
		resident.rows(p, i, "resident memory at its peak", "MB", 1.2)
		anonymous.rows(p, i, "anonymous memory", "MB", 1.2)
	}
}

// hold runs actions in this process until the benchmark ends.
func hold(b *testing.B, store string, actions int) {
	s, err := sqlite.Open(strings.TrimPrefix(store, "sqlite:"))
	if err != nil {
		b.Fatal(err)
	}
	p, err := peer.Open(context.Background(), s, peer.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.Close() })
	const callers = 256
	failed := make([]error, callers)
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for i := caller; i < actions && failed[caller] == nil; i += callers {
				spec := kapi.Spec{Title: "Resharding the cluster", Keys: []string{fmt.Sprintf("reshard-%d", i)}}
				_, failed[caller] = p.Start(context.Background(), spec, func(ctx context.Context, _ kapi.Handle) error {
					<-ctx.Done()
					return nil
				})
			}
		})
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		b.Fatal(err)
	}
}

// memoryOfOne returns the memory of a `kapi run` while its command runs, in MB (10^6 bytes): resident at its peak,
// and anonymous. The peak from wait4(2) is no use, as it includes what this process had when it forked.
func memoryOfOne(b *testing.B, program, store string) (peak, anonymous float64) {
	cmd := exec.Command(program, "--store", store, "run", "--", "sleep", "60")
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	peak, anonymous = field(cmd.Process.Pid, "status", "VmHWM:"), field(cmd.Process.Pid, "status", "RssAnon:")
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	if peak == 0 || anonymous == 0 {
		b.Fatalf("%v ended at once: %v", cmd, cmd.ProcessState)
	}
	return peak, anonymous
}
