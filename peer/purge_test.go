package peer_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// done runs an action to its end, which leaves a tombstone.
func (s *scene) done(k *peer.Peer) {
	s.t.Helper()
	err := k.Do(s.t.Context(), kapi.Spec{Title: "Backup"}, func(context.Context, kapi.Handle) error { return nil })
	if err != nil {
		s.t.Error(err)
	}
}

// wantPurged checks up to which seq endings are purged, and which are left.
func (s *scene) wantPurged(purged uint64, left ...uint64) {
	s.t.Helper()
	page, err := s.store.Feed(s.t.Context(), purged)
	if err != nil || page.Purged != purged {
		s.t.Errorf("after %v: purged up to %d, want %d, %v", s.now(), page.Purged, purged, err)
	}
	var seqs []uint64
	for _, r := range page.Records {
		if !r.Status.Ongoing() {
			seqs = append(seqs, r.Seq)
		}
	}
	if fmt.Sprint(seqs) != fmt.Sprint(left) {
		s.t.Errorf("after %v: the endings left are %v, want %v", s.now(), seqs, left)
	}
}

// An ending is kept for the replay window, and deleted soon after. An ongoing action is kept
// however old it is.
func TestPurge(t *testing.T) {
	const soon = peer.PurgeEvery + 2*time.Second
	play(t, func(t *testing.T, s *scene) {
		s.open()
		stays := fail(t, s.k, kapi.Spec{}, "boom") // seq 1 and 2
		goes := fail(t, s.k, kapi.Spec{}, "boom")  // 3 and 4
		s.done(s.k)                                // 5 and 6
		s.at(4 * time.Minute)
		if _, err := s.k.Dismiss(t.Context(), goes.ID, "ada"); err != nil { // 7
			t.Fatal(err)
		}
		s.at(peer.ReplayWindow - time.Second)
		s.wantPurged(0, 6, 7)
		s.at(peer.ReplayWindow + soon)
		s.wantPurged(6, 7)
		s.at(4*time.Minute + peer.ReplayWindow - time.Second)
		s.wantPurged(6, 7)
		s.at(4*time.Minute + peer.ReplayWindow + soon)
		s.wantPurged(7)
		s.want(stays.ID, kapi.StatusFailed, "boom")
		s.link.count("Purge")
		s.at(24*time.Minute + peer.ReplayWindow + soon)
		if n := s.link.count("Purge"); n < 20 || n > 40 {
			t.Errorf("purged %d times in 20 minutes", n)
		}
	})
}

// tombstones puts n endings of the given age into the store.
func (s *scene) tombstones(n int, age time.Duration) {
	s.t.Helper()
	at := time.Now().Add(-age).UnixMilli()
	s.commit(func(seq uint64) store.Writes {
		var w store.Writes
		for i := range uint64(n) {
			w.Head = seq + i
			w.Insert = append(w.Insert, store.Record{Action: kapi.Action{
				ID: fmt.Sprint("ended-", w.Head), Title: "Backup", Status: kapi.StatusCompleted, Seq: w.Head, UpdatedAt: at,
			}})
		}
		return w
	})
}

// However many endings are due, one round of purging deletes them all.
func TestPurgeMany(t *testing.T) {
	const many = 2*peer.PurgeLimit + 1
	play(t, func(t *testing.T, s *scene) {
		s.tombstones(many, peer.ReplayWindow+time.Second)
		s.open()
		s.at(peer.PurgeEvery - time.Second)
		if n := s.link.count("Purge"); n != 0 {
			t.Errorf("purged %d times already", n)
		}
		s.at(peer.PurgeEvery + 2*time.Second)
		s.wantPurged(many)
		if n := s.link.count("Purge"); n != 3 {
			t.Errorf("called Purge %d times", n)
		}
	})
}

// A short-lived peer purges when it closes. Otherwise a store that only short-lived peers use would
// grow without limit.
func TestPurgeOnClose(t *testing.T) {
	play(t, func(_ *testing.T, s *scene) {
		s.tombstones(3, peer.ReplayWindow+time.Second)
		s.tombstones(2, peer.ReplayWindow-time.Minute)
		s.open()
		s.reopen(0)
		s.wantPurged(3, 4, 5)
	})
}

// Endings that could not be deleted are deleted the next time.
func TestPurgeDuringOutage(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.tombstones(3, peer.ReplayWindow+time.Second)
		s.open()
		s.link.cut("Purge")
		s.at(10 * time.Minute)
		s.wantPurged(0, 1, 2, 3)
		if n := s.link.count("Purge"); n < 10 || n > 20 {
			t.Errorf("tried %d times in 10 minutes", n)
		}
		s.link.mend()
		s.at(10*time.Minute + peer.PurgeEvery + 2*time.Second)
		s.wantPurged(3)
	})
}

// A peer that was cut off for longer than the replay window reloads its view, and its watches end
// with ErrGap.
func TestAwayForLonger(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.open()
		away := &link{Store: s.store}
		other := s.openPeer(away, peer.Options{})
		ends := start(t, s.k, kapi.Spec{}, untilStopped)
		stays := start(t, s.k, kapi.Spec{}, untilStopped)
		w, err := other.Watch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		away.cut()
		if _, err := s.k.Cancel(t.Context(), ends.ID, "ada"); err != nil {
			t.Error(err)
		}
		s.at(time.Second)
		if _, err := s.k.Dismiss(t.Context(), ends.ID, "ada"); err != nil {
			t.Error(err)
		}
		s.at(2 * peer.ReplayWindow)
		away.mend()
		all, err := other.List(t.Context())
		if err != nil || len(all) != 1 || all[0].ID != stays.ID {
			t.Errorf("it lists %+v, %v", all, err)
		}
		if a, err := w.Next(t.Context()); !errors.Is(err, kapi.ErrGap) {
			t.Errorf("its watcher is told %+v, %v", a, err)
		}
	})
}
