package peer_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
)

// An operation pauses at its next Proceed, however many goroutines call it, and goes on when that is allowed.
func TestPause(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		d, ran := calls()
		a := c.join(peer.Options{}, d)
		action := a.begin(t)
		now := <-ran
		now.SetState("file 5")
		time.Sleep(time.Second)
		pause(t, a.Peer, action.ID)
		if shown := wantShown(t, a.Peer, action.ID, kapi.StatusRunning, "file 5"); shown.PausedBy != "ann" {
			t.Errorf("paused by %q", shown.PausedBy)
		}
		var waiting sync.WaitGroup
		for range 3 {
			waiting.Go(func() { must(t, now.Proceed(now.ctx)) })
		}
		short, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		wantError(t, now.Proceed(short), context.DeadlineExceeded)
		now.SetProgress(0.5) // what is reported meanwhile doesn't hide the pause
		time.Sleep(time.Minute)
		wantShown(t, a.Peer, action.ID, kapi.StatusImpacted, "paused by ann")
		if _, err := a.Unpause(t.Context(), action.ID, "ann"); err != nil {
			t.Fatal(err)
		}
		waiting.Wait()
		if shown := wantShown(t, a.Peer, action.ID, kapi.StatusRunning, "file 5"); shown.PausedBy != "" || *shown.Progress != 0.5 {
			t.Errorf("after the pause: %+v", shown)
		}
		must(t, now.Proceed(now.ctx))
		now.end <- nil
		synctest.Wait()
	})
}

// After a pause an operation that was impacted is impacted for the same reason.
func TestPauseWhileImpacted(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		d, ran := calls()
		a := c.join(peer.Options{}, d)
		action := a.begin(t)
		now := <-ran
		must(t, now.Impacted("node 3 is slow"))
		pause(t, a.Peer, action.ID)
		went := make(chan error)
		go func() { went <- now.Proceed(now.ctx) }()
		synctest.Wait()
		wantShown(t, a.Peer, action.ID, kapi.StatusImpacted, "paused by ann")
		if _, err := a.Unpause(t.Context(), action.ID, "ann"); err != nil {
			t.Fatal(err)
		}
		must(t, <-went)
		wantShown(t, a.Peer, action.ID, kapi.StatusImpacted, "node 3 is slow")
		must(t, now.Recovered())
		wantShown(t, a.Peer, action.ID, kapi.StatusRunning, "")
		now.end <- nil
		synctest.Wait()
	})
}

// A paused operation can be cancelled.
func TestPauseCancelled(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		d, ran := calls()
		a := c.join(peer.Options{}, d)
		action := a.begin(t)
		now := <-ran
		pause(t, a.Peer, action.ID)
		went := make(chan error)
		go func() { went <- now.Proceed(now.ctx) }()
		synctest.Wait()
		asked := time.Now()
		if _, err := a.Cancel(t.Context(), action.ID, "ben"); err != nil {
			t.Fatal(err)
		}
		var cancelled *kapi.CancelledError
		if err := <-went; !errors.As(err, &cancelled) {
			t.Errorf("Proceed: %v", err)
		}
		await(t, a.Peer, action.ID, is(kapi.StatusFailed))
		within(t, asked, time.Second, "the cancel")
	})
}

// An operation that was cancelled may finish what it has in hand, by a context that goes on, as long as it has its action.
func TestProceedAfterCancel(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		d, _ := calls()
		ran, end := make(chan *call, 1), make(chan struct{})
		d.Run = func(ctx context.Context, h kapi.OperationHandle, _ json.RawMessage) error {
			ran <- &call{ctx, h, nil}
			<-end
			return context.Cause(ctx)
		}
		a := c.join(peer.Options{}, d)
		action := a.begin(t)
		now := <-ran
		pause(t, a.Peer, action.ID)
		if _, err := a.Cancel(t.Context(), action.ID, "ben"); err != nil {
			t.Fatal(err)
		}
		<-now.ctx.Done()
		var cancelled *kapi.CancelledError
		if err := now.Proceed(now.ctx); !errors.As(err, &cancelled) {
			t.Errorf("Proceed: %v", err)
		}
		must(t, now.Proceed(context.WithoutCancel(now.ctx))) // nor does it pause
		must(t, now.Checkpoint(place{1}))
		a.link.cut()
		time.Sleep(sceneGiveUp)
		wantError(t, now.Proceed(context.WithoutCancel(now.ctx)), kapi.ErrLost)
		a.link.mend()
		close(end)
	})
}

// A paused operation whose peer stops is handed over, and is claimed when the pause is over.
func TestPausedAndStopped(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		d, ran := calls()
		a, b := c.join(peer.Options{}, d), c.join(peer.Options{}, d)
		action := a.begin(t)
		now := <-ran
		now.SetState("file 5")
		pause(t, b.Peer, action.ID)
		time.Sleep(2 * time.Second)
		went := make(chan error)
		go func() { went <- now.Proceed(t.Context()) }()
		synctest.Wait()
		must(t, a.Close())
		if err := <-went; !errors.Is(err, kapi.ErrStopped) && !errors.Is(err, kapi.ErrUnknown) { // Run may have returned already
			t.Errorf("error %v", err)
		}
		time.Sleep(time.Hour)
		if shown := get(t, b.Peer, action.ID); shown.Status != kapi.StatusImpacted || shown.PausedBy != "ann" || shown.Runner != nil {
			t.Errorf("it is %+v", shown)
		}
		if _, err := b.Unpause(t.Context(), action.ID, "ann"); err != nil {
			t.Fatal(err)
		}
		second := <-ran
		wantShown(t, b.Peer, action.ID, kapi.StatusRunning, "file 5")
		second.end <- nil
		synctest.Wait()
	})
}

// Of a cancel and an operation that forbids it, one wins.
func TestNoCancelRaces(t *testing.T) {
	d, ran := calls()
	d.Keys = nil
	k := openPeer(t, newStore(t), peer.Options{Operations: []kapi.Definition{d}, Logger: quiet})
	forbidden := 0
	for range 100 {
		s, err := k.StartOperation(t.Context(), "copy", nil, kapi.StartOptions{})
		if err != nil {
			t.Fatal(err)
		}
		now := <-ran
		result := make(chan error)
		go func() { result <- now.NoCancel("the switch is under way") }()
		_, err = k.Cancel(t.Context(), s.Action.ID, "ben")
		var not *kapi.NotCancellableError
		var cancelled *kapi.CancelledError
		switch forbids := <-result; {
		case forbids == nil && errors.As(err, &not):
			forbidden++
			if shown := get(t, k, s.Action.ID); shown.NoCancel != "the switch is under way" || shown.CancelRequestedAt != 0 || now.ctx.Err() != nil {
				t.Fatalf("forbidden: %+v", shown)
			}
			must(t, now.NoCancel(""))
			if _, err = k.Cancel(t.Context(), s.Action.ID, "ben"); err != nil {
				t.Fatalf("a cancel that is allowed again: %v", err)
			}
		case err == nil && (errors.As(forbids, &cancelled) || errors.Is(forbids, kapi.ErrUnknown)): // Run may have returned already
		default:
			t.Fatalf("the cancel: %v; what forbids it: %v", err, forbids)
		}
		<-now.ctx.Done()
	}
	t.Logf("%d of 100 cancels were refused", forbidden)
}
