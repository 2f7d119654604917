package peer_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/peer"
)

// The runner of a resumable action dies, and another peer goes on where its last checkpoint was, under the same id.
func TestTakeover(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		d, ran := calls()
		a := c.join(peer.Options{}, d)
		action := a.begin(t)
		first := <-ran
		first.SetProgress(0.5)
		first.SetState("file 5")
		must(t, first.Checkpoint(place{5}))
		time.Sleep(2 * time.Second) // progress and state are published
		b := c.join(peer.Options{}, d)
		w := watch(t, b.Peer)
		a.kill()
		second := <-ran
		if second.ID() != action.ID || second.Origin() != action.ID || second.Attempt() != 2 || second.Fence() <= first.Fence() {
			t.Errorf("taken over: id %s, origin %s, attempt %d, fence %d after %d", second.ID(), second.Origin(), second.Attempt(), second.Fence(), first.Fence())
		}
		if n := restored(t, second); n != 5 {
			t.Errorf("the checkpoint is %d", n)
		}
		second.SetProgress(0.2)
		time.Sleep(2 * time.Second)
		if now := wantShown(t, b.Peer, action.ID, kapi.StatusRunning, "file 5"); *now.Progress != 0.5 || now.Attempt != 2 {
			t.Errorf("progress %v, attempt %d", *now.Progress, now.Attempt)
		}
		a.link.mend() // the process was only frozen after all
		wantError(t, first.Checkpoint(place{6}), kapi.ErrStaleFence)
		wantError(t, context.Cause(first.ctx), kapi.ErrLost)
		if first.Proceed(first.ctx) == nil {
			t.Error("it may proceed")
		}
		if n := restored(t, second); n != 5 {
			t.Errorf("after that the checkpoint is %d", n)
		}
		second.end <- nil
		done(t, w, action.ID)
	})
}

// Runners that die at one place fail the action, which keeps its keys. A new checkpoint makes it another place.
func TestDeathsAtOnePlace(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		d, ran := calls()
		looks := c.join(peer.Options{})
		runner := c.join(peer.Options{}, d)
		action := runner.begin(t)
		for n := range 5 {
			now := <-ran
			if n == 2 {
				must(t, now.Checkpoint(place{n}))
			}
			next := c.join(peer.Options{}, d)
			runner.kill()
			runner = next
		}
		failed := await(t, looks.Peer, action.ID, is(kapi.StatusFailed))
		if !strings.HasPrefix(failed.State, "killed three runners at the same place: ") || len(failed.Keys) != 1 || failed.NotProvenDead {
			t.Errorf("in the end: %q, keys %q", failed.State, failed.Keys)
		}
		if len(ran) > 0 {
			t.Error("it runs once more")
		}
	})
}

// Nobody takes the action over in time.
func TestNobodyTakesOver(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		d, ran := calls(func(d *kapi.Definition) { d.Resume = &kapi.Resume{Within: 3 * time.Minute} })
		a := c.join(peer.Options{}, d)
		action := a.begin(t)
		<-ran
		looks := c.join(peer.Options{})
		began := time.Now()
		a.kill()
		failed := await(t, looks.Peer, action.ID, is(kapi.StatusFailed))
		if took := time.Since(began); took < 3*time.Minute || took > 3*time.Minute+10*time.Second || len(failed.Keys) != 1 {
			t.Errorf("after %v: %q, keys %q", took, failed.State, failed.Keys)
		}
	})
}

// A planned stop is no failure: another peer goes on at once, and no attempt is counted.
func TestPlannedStop(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		d, ran := calls()
		a, b := c.join(peer.Options{}, d), c.join(peer.Options{}, d)
		action := a.begin(t)
		first := <-ran
		must(t, first.Checkpoint(place{7}))
		w := watch(t, b.Peer)
		stopped := time.Now()
		must(t, a.Close())
		second := <-ran
		within(t, stopped, aLook, "the hand-over")
		if second.ID() != action.ID || second.Attempt() != 1 || restored(t, second) != 7 {
			t.Errorf("handed over: id %s, attempt %d", second.ID(), second.Attempt())
		}
		second.end <- nil
		for {
			now, err := w.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if now.Status == kapi.StatusFailed || now.Attempt > 1 {
				t.Errorf("it was shown as %v, attempt %d", now.Status, now.Attempt)
			}
			if now.Status == kapi.StatusCompleted {
				break
			}
		}
	})
}

// An operation that takes longer to stop than the lease lasts has no second runner meanwhile.
func TestStopLongerThanLease(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		var at []time.Time
		free := make(chan struct{})
		d, ran := calls()
		run := d.Run
		slow := d
		slow.Run = func(ctx context.Context, h kapi.OperationHandle, arguments json.RawMessage) error {
			err := run(ctx, h, arguments)
			<-free
			at = append(at, time.Now())
			return err
		}
		a, b := c.join(peer.Options{Grace: 10 * time.Minute}, slow), c.join(peer.Options{}, d)
		action := a.begin(t)
		<-ran
		closed := make(chan error)
		go func() { closed <- a.Close() }()
		time.Sleep(5 * time.Minute)
		wantShown(t, b.Peer, action.ID, kapi.StatusRunning, "")
		if len(ran) > 0 {
			t.Error("there is a second runner")
		}
		close(free)
		second := <-ran
		within(t, at[0], aLook, "the hand-over")
		must(t, <-closed)
		second.end <- nil
		synctest.Wait()
	})
}

// An operation that outlives Close's grace keeps its action, and its runner counts as dead only once its process is.
func TestStopOutlived(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		free := make(chan struct{})
		d, ran := calls()
		stubborn := d
		stubborn.Run = func(context.Context, kapi.OperationHandle, json.RawMessage) error { <-free; return nil }
		a, b := c.join(peer.Options{}, stubborn), c.join(peer.Options{}, d)
		action := a.begin(t)
		must(t, a.Close())
		wantShown(t, b.Peer, action.ID, kapi.StatusRunning, "")
		if len(ran) > 0 {
			t.Error("there is a second runner")
		}
		a.kill()
		second := <-ran
		close(free)
		second.end <- nil
		synctest.Wait()
	})
}

// A runner that can't reach its store stops before others take over for its silence, and is refused afterwards.
func TestSilentRunnerStopsItself(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		d, ran := calls()
		a, b := c.join(peer.Options{}, d), c.join(peer.Options{}, d)
		action := a.begin(t)
		first := <-ran
		must(t, first.Proceed(t.Context()))
		cut := time.Now()
		a.link.cut()
		<-first.ctx.Done()
		stopped := time.Since(cut)
		wantError(t, context.Cause(first.ctx), kapi.ErrLost)
		synctest.Wait() // Run returns
		wantError(t, first.Proceed(t.Context()), kapi.ErrUnknown)
		second := <-ran
		taken := time.Since(cut)
		if stopped > sceneGiveUp-sceneLease/3 || stopped < sceneGiveUp-sceneLease || taken < sceneGiveUp-sceneLease/3 {
			t.Errorf("stopped after %v, taken over after %v", stopped, taken)
		}
		a.link.mend()
		time.Sleep(time.Minute)
		wantShown(t, b.Peer, action.ID, kapi.StatusRunning, "")
		wantError(t, first.Checkpoint(place{1}), kapi.ErrUnknown)
		second.end <- nil
		synctest.Wait()
	})
}

// A machine that has slept for too long may not proceed, although its timers have not noticed.
func TestThawedRunner(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		d, ran := calls()
		a := c.join(peer.Options{}, d)
		a.begin(t)
		first := <-ran
		a.link.cut()
		time.Sleep(10 * time.Second)
		must(t, first.Proceed(t.Context()))
		c.suspend(time.Hour)
		time.Sleep(time.Second)
		a.link.mend()
		time.Sleep(sceneLease / 3) // the lease is renewed, which must not make up for it
		wantError(t, context.Cause(first.ctx), kapi.ErrLost)
		wantError(t, first.Proceed(t.Context()), kapi.ErrUnknown) // the call has returned
		second := <-ran                                           // nobody else was there, so it goes on here
		if second.Attempt() != 2 {
			t.Errorf("attempt %d", second.Attempt())
		}
		second.end <- nil
		synctest.Wait()
	})
}

// Whatever renews the lease of a process that was frozen for too long doesn't make up for it.
func TestThawedRunnerRenews(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		d, ran := calls()
		a := c.join(peer.Options{}, d)
		action := a.begin(t)
		first := <-ran
		c.suspend(time.Hour)
		must(t, a.RecordWork(t.Context(), action.ID, proc.Work{}))
		if first.Proceed(t.Context()) == nil {
			t.Fatal("it may proceed")
		}
		wantError(t, context.Cause(first.ctx), kapi.ErrLost)
		(<-ran).end <- nil
		synctest.Wait()
	})
}

// An operation that freezes its process each time at the same place is not tried for ever.
func TestFreezesItsRunner(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		d, ran := calls()
		a := c.join(peer.Options{}, d)
		action := a.begin(t)
		for range 3 {
			<-ran
			c.suspend(time.Hour)
		}
		failed := await(t, a.Peer, action.ID, is(kapi.StatusFailed))
		if failed.State != "killed three runners at the same place: it could not renew its lease in time" || failed.NotProvenDead || len(failed.Keys) != 1 {
			t.Errorf("in the end: %q, not proven dead %v, keys %q", failed.State, failed.NotProvenDead, failed.Keys)
		}
		if len(ran) > 0 {
			t.Error("it runs once more")
		}
	})
}

// A peer leaves an action whose checkpoints it can't read to others. Newer ones read those of older ones.
func TestVersions(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		version := func(reads, version int) func(*kapi.Definition) {
			return func(d *kapi.Definition) { d.Reads, d.Version = reads, version }
		}
		old, ranOld := calls(version(1, 1))
		newer, ranNew := calls(version(1, 2))
		a := c.join(peer.Options{}, old)
		action := a.begin(t)
		first := <-ranOld
		must(t, first.Checkpoint(place{1}))
		b := c.join(peer.Options{}, newer)
		must(t, a.Close())
		second := <-ranNew
		if n := restored(t, second); n != 1 {
			t.Errorf("the newer one restores %d", n)
		}
		must(t, second.Checkpoint(map[string]int{"N": 2, "Of": 3}))
		a = c.join(peer.Options{}, old)
		must(t, b.Close())
		time.Sleep(time.Minute)
		wantShown(t, a.Peer, action.ID, kapi.StatusImpacted, "waits for a runner of version 2")
		if len(ranOld) > 0 {
			t.Error("the old one runs it")
		}
		c.join(peer.Options{}, newer)
		third := <-ranNew
		if found, err := third.Restore(&place{}); err == nil || found || !strings.Contains(err.Error(), "Of") {
			t.Errorf("restored into the old form: %v, %v", found, err)
		}
		third.end <- nil
		synctest.Wait()
	})
}

// A run that has lost its action, and doesn't return, keeps this process from running the action a second time.
func TestOneRunPerProcess(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		free, again := make(chan struct{}), make(chan struct{}, 9)
		d, _ := calls()
		d.Run = func(context.Context, kapi.OperationHandle, json.RawMessage) error {
			again <- struct{}{}
			<-free
			return errors.New("lost")
		}
		a := c.join(peer.Options{}, d)
		action := a.begin(t)
		<-again
		looks := c.join(peer.Options{})
		a.link.cut()
		await(t, looks.Peer, action.ID, func(a kapi.Action) bool { return a.Runner == nil })
		a.link.mend()
		time.Sleep(time.Minute)
		if len(again) > 0 {
			t.Error("it runs twice in one process")
		}
		close(free)
		<-again
	})
}
