package acceptance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/client"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/pgtest"
)

// A follower watches all actions over the gateway, as an admin's program does.
type follower struct {
	t      *testing.T
	client *client.Client
	served sync.WaitGroup

	mu      sync.Mutex
	actions map[string]kapi.Action // as of the last update
	gaps    int
}

// follow begins to watch, and begins anew after each gap, until the test ends.
func follow(t *testing.T, k *installation) *follower {
	t.Helper()
	c, err := client.New(k.url, k.token, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{t: t, client: c, actions: map[string]kapi.Action{}}
	watch, err := c.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.served.Go(func() { f.serve(t.Context(), watch) })
	t.Cleanup(func() {
		f.served.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *follower) serve(ctx context.Context, watch *client.Watch) {
	for {
		for _, a := range watch.Snapshot {
			f.note(a)
		}
		err := f.drain(ctx, watch)
		watch.Close()
		if ctx.Err() != nil {
			return
		}
		if !errors.Is(err, kapi.ErrGap) {
			f.t.Errorf("the watch ended: %v", err)
			return
		}
		f.mu.Lock()
		f.gaps++
		f.mu.Unlock()
		for watch = nil; watch == nil; <-time.After(100 * time.Millisecond) { // the server may not have reached the store yet
			if watch, err = f.client.Watch(ctx); err != nil && !errors.Is(err, kapi.ErrUnavailable) {
				if ctx.Err() == nil {
					f.t.Errorf("a new watch: %v", err)
				}
				return
			}
		}
	}
}

func (f *follower) drain(ctx context.Context, watch *client.Watch) error {
	for {
		a, err := watch.Next(ctx)
		if err != nil {
			return err
		}
		f.note(a)
	}
}

func (f *follower) note(a kapi.Action) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.Seq >= f.actions[a.ID].Seq {
		f.actions[a.ID] = a
	}
}

// await waits until an action of that title has been seen to satisfy is.
func (f *follower) await(title, what string, is func(kapi.Action) bool) (found kapi.Action) {
	f.t.Helper()
	kapitest.Eventually(f.t, title+" is seen "+what, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, a := range f.actions {
			if a.Title == title && is(a) {
				found = a
				return true
			}
		}
		return false
	})
	return found
}

func (f *follower) gapsSeen() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gaps
}

func atProgress(p float64) func(kapi.Action) bool {
	return func(a kapi.Action) bool {
		return a.Status == kapi.StatusRunning && a.Progress != nil && *a.Progress == p
	}
}

// echoer is a command that reports the percentages it reads, and fails at end of file.
var echoer = []string{"sh", "-c", `while read n; do printf '\033]9;4;1;%d\a' $n; done; exit 3`}

// say has an echoer report a percentage.
func (p *process) say(percent string) {
	p.t.Helper()
	if _, err := io.WriteString(p.stdin, percent+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// TestFailover kills the database under load and promotes its synchronous standby. Nothing acknowledged
// is missing, a new epoch begins, and running commands continue and end there.
func TestFailover(t *testing.T) {
	t.Parallel()
	binary := buildKapi(t)
	primary := pgtest.For(t, pgtest.Options{Durable: true, TCP: true, Settings: map[string]string{"max_connections": "60"}})
	for i := range rounds(1, 40) {
		standby := primary.Standby(t, true)
		if !t.Run(fmt.Sprint("round ", i), func(t *testing.T) { failOver(t, binary, primary, standby) }) {
			return
		}
		primary.Stop()
		primary = standby
	}
}

func failOver(t *testing.T, binary string, primary, standby *pgtest.Server) {
	t.Helper()
	k := install(t, binary)
	k.store = pgtest.DSN("postgres", primary, standby)
	k.serve()
	seen := follow(t, k)
	long := k.start("run", append([]string{"--key", "long", "--title", "long", "--"}, echoer...)...)
	long.gather()
	long.say("25")
	before := seen.await("long", "running", atProgress(0.25))
	watch := k.start("watch", "--json", before.ID)
	for !atProgress(0.25)(k.action(watch.line())) { // watch has begun, too
	}
	l := startLoad(t, k.store, "500ms", "5s", "1m")
	l.await(60)

	primary.Kill()
	long.say("50")
	if err := standby.Promote(); err != nil {
		t.Fatal(err)
	}
	l.await(60)
	after := seen.await("long", "still running", atProgress(0.5))
	if after.ID != before.ID || after.Seq < before.Seq+1<<20 {
		t.Errorf("it was %+v and is %+v, want the same in a new epoch", before, after)
	}
	if seen.gapsSeen() == 0 {
		t.Error("the gateway's client did not begin a new session")
	}
	_ = long.stdin.Close()
	if code := long.wait(); code != 3 {
		t.Errorf("kapi run exited with %d: %s", code, long.stderr)
	}
	seen.await("long", "failed", inStatus(kapi.StatusFailed))
	for a := before; a.Status != kapi.StatusFailed; { // watch continues over the gap, and ends with the action
		a = k.action(watch.line())
	}
	if code := watch.wait(); code != 3 {
		t.Errorf("kapi watch exited with %d: %s", code, watch.stderr)
	}
	if _, stderr, code := k.run("dismiss", before.ID); code != 0 {
		t.Errorf("kapi dismiss exited with %d: %s", code, stderr)
	}
	seen.await("long", "dismissed", inStatus(kapi.StatusAborted))
	l.end()
}
