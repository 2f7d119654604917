package peer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// An end that could not be recorded in time is recorded later, with the last progress and
// state.
func TestUnsaidEnd(t *testing.T) {
	for name, result := range map[string]error{"completed": nil, "failed": errors.New("boom")} {
		t.Run(name, func(t *testing.T) {
			play(t, func(t *testing.T, s *scene) {
				s.k = s.openPeer(s.link, peer.Options{EndTimeout: 10 * time.Second})
				w, err := s.k.Watch(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer w.Close()
				var id string
				err = s.k.Do(t.Context(), kapi.Spec{Title: "Resharding", Keys: []string{"reshard"}},
					func(_ context.Context, h kapi.Handle) error {
						id = h.ID()
						s.link.cut()
						h.SetProgress(0.75)
						h.SetState("slot 9")
						h.SetExitCode(3)
						return result
					})
				if !errors.Is(err, kapi.ErrUnavailable) || result != nil && !errors.Is(err, result) || s.now() != 10*time.Second {
					t.Errorf("after %v: %v", s.now(), err)
				}
				s.at(20 * time.Minute)
				s.link.mend()
				s.at(20*time.Minute + time.Second)
				want, state := kapi.StatusCompleted, "slot 9"
				if result != nil {
					want, state = kapi.StatusFailed, "boom"
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				a, err := w.Next(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if a.ID != id || a.Status != want || a.State != state || *a.Progress != 0.75 || *a.ExitCode != 3 {
					t.Errorf("ended as %+v", a)
				}
				s.at(30 * time.Minute)
				s.wantSeq(2)
			})
		})
	}
}

// If a start could not be confirmed to its caller, it is not run, and the action's state says so.
func TestUnconfirmedStart(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.open()
		s.at(0)
		s.link.cut("Answer")
		_, err := s.k.Start(t.Context(), kapi.Spec{Title: "Resharding", Keys: []string{"reshard"}},
			func(context.Context, kapi.Handle) error {
				t.Error("it ran")
				return nil
			})
		wantError(t, err, kapi.ErrUnavailable)
		s.link.mend()
		a := s.theOnly()
		s.at(time.Second)
		s.want(a.ID, kapi.StatusFailed, "its start could not be confirmed, so it was not run")
		s.wantSeq(a.Seq + 1)
	})
}

// A start whose answer is only late is not settled as unconfirmed.
func TestLateAnswer(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.open()
		s.at(0)
		s.link.ask(func(method string) error {
			if method == "Answer" {
				time.Sleep(time.Minute)
			}
			return nil
		})
		a := start(t, s.k, kapi.Spec{}, untilStopped)
		s.link.mend()
		s.at(2 * time.Minute)
		s.want(a.ID, kapi.StatusRunning, "")
		s.wantSeq(a.Seq)
	})
}

// While a peer runs operations, it renews its lease once per third of the lease. One renewal serves all its
// operations.
func TestRenewals(t *testing.T) {
	for _, lease := range []time.Duration{3 * time.Second, 15 * time.Second, 2 * time.Minute} {
		t.Run(lease.String(), func(t *testing.T) {
			play(t, func(t *testing.T, s *scene) {
				s.k = s.openPeer(s.link, peer.Options{Lease: lease})
				s.at(0)
				first := start(t, s.k, kapi.Spec{}, untilStopped)
				second := start(t, s.k, kapi.Spec{}, untilStopped)
				wantBeats := func(want int) {
					t.Helper()
					if n := s.link.count("Renew"); n != want {
						t.Errorf("after %v: renewed %d times, want %d", s.now(), n, want)
					}
				}
				s.at(lease/3 - time.Second)
				wantBeats(0) // the start itself was the first beat
				s.at(lease / 3)
				wantBeats(1)
				s.at(20 * lease)
				wantBeats(59)
				s.link.cut() // an outage stops neither the work nor the attempts
				s.at(30 * lease)
				wantBeats(31) // one of them because the outage was noticed
				s.link.mend()
				s.at(40 * lease)
				wantBeats(30)
				for _, a := range []kapi.Action{first, second} {
					s.want(a.ID, kapi.StatusRunning, "")
					if _, err := s.k.Cancel(t.Context(), a.ID, "ada"); err != nil {
						t.Error(err)
					}
				}
				s.at(50 * lease)
				wantBeats(0)
			})
		})
	}
}

// An idle peer writes nothing, and only checks for changes.
func TestIdlePeer(t *testing.T) {
	for name, before := range map[string]func(*testing.T, *scene){
		"an empty store": func(*testing.T, *scene) {},
		"a failed action of another runner": func(_ *testing.T, s *scene) {
			s.leave(stranger(), func(r *store.Record) { r.Status = kapi.StatusFailed })
		},
		"its own that failed": func(t *testing.T, s *scene) {
			start(t, s.k, kapi.Spec{}, func(context.Context, kapi.Handle) error { return errors.New("boom") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(t *testing.T, s *scene) {
				const hours = 2
				s.open()
				before(t, s)
				s.at(10 * time.Second)
				head, runners := s.head(), s.runners()
				for _, method := range []string{"Commit", "Renew", "Runners", "Snapshot", "Feed", "Purge"} {
					s.link.count(method)
				}
				s.at(hours*time.Hour + 10*time.Second)
				for _, method := range []string{"Commit", "Renew", "Runners", "Snapshot"} {
					if n := s.link.count(method); n != 0 {
						t.Errorf("%s was called %d times", method, n)
					}
				}
				if n := s.link.count("Feed"); n > hours*3600 {
					t.Errorf("the feed was read %d times in %d hours", n, hours)
				}
				if n := s.link.count("Purge"); n > hours*120 {
					t.Errorf("old endings were looked for %d times in %d hours", n, hours)
				}
				if s.head() != head || s.runners() != runners {
					t.Errorf("the store changed: %+v, %+v; was %+v, %+v", s.head(), s.runners(), head, runners)
				}
			})
		})
	}
}

// runners returns the store's record of this peer or of the stranger. It fails if there are both.
func (s *scene) runners() (r store.RunnerRecord) {
	s.t.Helper()
	all, err := s.store.Runners(s.t.Context(), []string{s.k.Self().ID, stranger().ID})
	if err != nil || len(all) > 1 {
		s.t.Fatalf("runners %+v, %v", all, err)
	}
	if len(all) == 1 {
		r = all[0]
	}
	return r
}
