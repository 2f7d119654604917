package peer_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
)

// A start that is about to be refused judges the holder first. It doesn't wait longer for that than its caller allows.
func TestJudgingHasALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		holder, k := openPeer(t, s, peer.Options{}), openPeer(t, s, peer.Options{})
		start(t, holder, kapi.Spec{Keys: []string{"k"}}, untilStopped)
		release := make(chan struct{})
		var hangs atomic.Bool
		s.setBefore(func(method string) error {
			if method == "Runners" && hangs.CompareAndSwap(false, true) { // the look of k's sweeper at the holder
				<-release
			}
			return nil
		})
		for !hangs.Load() { // it reads the records of runners that are well only now and then
			time.Sleep(time.Second)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := k.Start(ctx, kapi.Spec{Title: "t", Keys: []string{"k"}}, untilStopped)
		if took := time.Since(began); err == nil || took > time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		if held := (*kapi.HeldError)(nil); !errors.As(err, &held) {
			t.Errorf("the start failed with %v", err)
		}
		close(release)
	})
}
