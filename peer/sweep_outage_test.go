package peer_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// Silence counts only while it was watched: whatever kept the peer from watching, and for however
// long, the silence begins anew afterwards.
func TestUnwatchedSilence(t *testing.T) {
	outage := func(d time.Duration, methods ...string) func(*scene) {
		return func(s *scene) {
			s.link.cut(methods...)
			s.at(s.now() + d)
			s.link.mend()
		}
	}
	for name, away := range map[string]func(*scene){
		"an outage of a moment":   outage(2 * time.Second),
		"an outage of an hour":    outage(time.Hour),
		"runners can't be read":   outage(10*time.Minute, "Runners"),
		"a suspended laptop":      func(s *scene) { s.suspend(8 * time.Hour) },
		"a watcher that was held": func(s *scene) { s.suspend(6 * time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(_ *testing.T, s *scene) {
				left := s.leave(stranger())
				s.open()
				s.at(sceneLease - time.Second)
				away(s)
				again := s.now()
				s.at(again + sceneLease - time.Second)
				s.want(left.ID, kapi.StatusRunning, "slot 5")
				s.at(again + sceneLease + time.Second)
				s.want(left.ID, kapi.StatusImpacted, noWord)
				s.at(again + sceneGiveUp - time.Second)
				away(s)
				again = s.now()
				s.at(again + sceneGiveUp - time.Second)
				s.want(left.ID, kapi.StatusImpacted, noWord)
				s.at(again + sceneGiveUp + time.Second)
				s.want(left.ID, kapi.StatusFailed, noWord+"; not proven dead; it last said: slot 5")
			})
		})
	}
}

// reopen closes the watcher, and opens it again after a pause.
func (s *scene) reopen(after time.Duration) {
	if err := s.k.Close(); err != nil {
		s.t.Error(err)
	}
	time.Sleep(after)
	s.open()
}

// Short-lived peers add up what they have watched. Of the time between two looks at most a lease counts,
// so that they reach a verdict, but not too soon.
func TestBriefWatchers(t *testing.T) {
	for name, tt := range map[string]struct {
		every   time.Duration // between two looks
		counted time.Duration // how much of that counts
		slept   time.Duration
	}{
		"all the time": {every: 5 * time.Second, counted: 5 * time.Second},
		"each minute":  {every: time.Minute, counted: sceneLease},
		"each day":     {every: 24 * time.Hour, counted: sceneLease},
		"each wake-up": {every: time.Minute, slept: 8 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(_ *testing.T, s *scene) {
				left := s.leave(stranger())
				counted := time.Duration(0)
				looks := 0
				for s.open(); counted < sceneGiveUp && looks < 30; s.reopen(tt.every) {
					want := noWord
					if counted < sceneLease {
						want = "slot 5"
					}
					if a := s.theOnly(); a.State != want {
						s.t.Fatalf("after %v, %v of them counted: %v, %q, want %q", s.now(), counted, a.Status, a.State, want)
					}
					looks++
					s.suspend(tt.slept)
					counted += tt.counted
				}
				if tt.counted == 0 {
					s.want(left.ID, kapi.StatusRunning, "slot 5")
					return
				}
				s.want(left.ID, kapi.StatusFailed, noWord+"; not proven dead; it last said: slot 5")
			})
		})
	}
}

// Before a start is refused, the holder is judged once.
func TestRefusalJudgesFirst(t *testing.T) {
	play(t, func(_ *testing.T, s *scene) {
		s.k = s.openPeer(s.link, peer.Options{}.WithSweepEvery(time.Hour))
		left := s.leave(stranger())
		s.at(time.Second)
		s.wantHeld(left.ID) // its silence is watched from now on
		s.at(sceneLease + 2*time.Second)
		s.want(left.ID, kapi.StatusRunning, "slot 5")
		s.wantHeld(left.ID)
		s.want(left.ID, kapi.StatusImpacted, noWord)
	})
}

// While nothing can be written (a full disk, a stuck lock), no runner can renew its lease. That is an
// outage, too, although the store can be read.
func TestOutageOfWrites(t *testing.T) {
	for name, before := range map[string]time.Duration{
		"all along":    6 * time.Second,
		"while silent": 6*time.Second + sceneLease,
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(t *testing.T, s *scene) {
				s.open()
				runner, done := s.far(untilStopped, peer.Options{})
				s.at(6 * time.Second)
				a := s.theOnly()
				runner.cut("Commit", "Renew", "Observe")
				s.at(before)
				s.link.cut("Commit", "Renew", "Observe")
				s.at(20 * time.Minute)
				s.link.mend() // the watcher can judge again before the runner has renewed
				runner.mend()
				s.at(20*time.Minute + sceneLease)
				s.want(a.ID, kapi.StatusRunning, "")
				if _, err := s.k.Cancel(t.Context(), a.ID, "ada"); err != nil {
					t.Error(err)
				}
				<-done
			})
		})
	}
}

// Wall clocks are only for display: HeardAt doesn't affect a verdict.
func TestWallClocks(t *testing.T) {
	for name, says := range map[string]time.Time{
		"far back":  time.UnixMilli(0).UTC(),
		"far ahead": time.Date(2999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(_ *testing.T, s *scene) {
				s.link.alter = func(r *store.RunnerRecord) { r.HeardAt = says.UnixMilli() }
				runner := stranger()
				left := s.leave(runner, func(r *store.Record) {
					r.CreatedAt, r.UpdatedAt, r.StartedAt = says.UnixMilli(), says.UnixMilli(), says.UnixMilli()
					r.Runner.HeardAt = says.UnixMilli()
				})
				s.open()
				for s.now() < 10*time.Minute {
					s.at(s.now() + sceneLease/3)
					s.hear(runner)
				}
				s.want(left.ID, kapi.StatusRunning, "slot 5")
				s.wantSeq(left.Seq)

				last := s.now() + time.Second // when the watcher sees the last renewal
				said := "no word from bot-2 since " + says.Format(time.RFC3339)
				s.at(last + sceneLease - time.Second)
				s.want(left.ID, kapi.StatusRunning, "slot 5")
				s.at(last + sceneGiveUp - time.Second)
				s.want(left.ID, kapi.StatusImpacted, said)
				s.at(last + sceneGiveUp)
				s.want(left.ID, kapi.StatusFailed, said+"; not proven dead; it last said: slot 5")
			})
		})
	}
}

// A verdict is not written if its runner was heard, or another one has the action, between the
// judgement and the transaction.
func TestWithdrawnVerdict(t *testing.T) {
	for name, event := range map[string]func(*scene, store.Record){
		"heard": func(s *scene, _ store.Record) { s.hear(stranger()) },
		"taken over": func(s *scene, r store.Record) {
			next := stranger()
			next.ID = "next"
			s.commit(func(seq uint64) store.Writes {
				r.Seq, r.Fence, r.Runner = seq, seq, &kapi.Runner{ID: next.ID, Host: next.Host, PID: next.PID}
				return store.Writes{Update: []store.Record{r}, Runners: []store.RunnerRecord{next}}
			})
		},
	} {
		for _, limit := range []time.Duration{sceneLease, sceneGiveUp} {
			t.Run(fmt.Sprintf("%s after %v", name, limit), func(t *testing.T) {
				play(t, func(t *testing.T, s *scene) {
					left := s.leave(stranger())
					s.open()
					s.at(limit - time.Second)
					s.link.count("Commit")
					var seq uint64
					s.link.ask(func(method string) error {
						if method == "Commit" {
							event(s, left)
							seq = s.head().Seq
						}
						return nil
					})
					s.at(limit)
					s.link.mend()
					if s.link.count("Commit") != 1 {
						t.Error("there was no verdict")
					}
					s.wantSeq(seq)
					s.at(limit + sceneGiveUp) // the silence began anew
					if a := s.theOnly(); a.Status != kapi.StatusImpacted {
						t.Errorf("later it was %+v", a)
					}
				})
			})
		}
	}
}

// After a verdict that can't be written, the runner is judged again, once it had time to renew.
func TestVerdictDuringOutage(t *testing.T) {
	play(t, func(_ *testing.T, s *scene) {
		left := s.leave(stranger())
		s.open()
		s.link.cut("Commit")
		s.at(20 * time.Minute)
		s.link.mend()
		s.at(20*time.Minute + sceneLease + time.Second)
		s.want(left.ID, kapi.StatusImpacted, noWord)
		s.at(20*time.Minute - sceneLease + sceneGiveUp - 2*time.Second)
		s.want(left.ID, kapi.StatusImpacted, noWord)
		s.at(20*time.Minute + sceneGiveUp + time.Second)
		s.want(left.ID, kapi.StatusFailed, noWord+"; not proven dead; it last said: slot 5")
	})
}

// An end that could not be reported before the runner was given up is recorded after all.
func TestUnsaidEndOfTheGivenUp(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.open()
		end := make(chan struct{})
		runner, done := s.far(func(context.Context, kapi.Handle) error { <-end; return nil },
			peer.Options{EndTimeout: 10 * time.Second})
		s.at(6 * time.Second)
		a := s.theOnly()
		runner.cut()
		close(end)
		wantError(t, <-done, kapi.ErrUnavailable)
		s.at(20 * time.Minute)
		s.want(a.ID, kapi.StatusFailed, "no word from bot-2 since 2000-01-01T00:00:05Z; not proven dead")
		runner.cut("Commit")
		s.at(20*time.Minute + 2*time.Second) // the runner has learned that it was given up
		runner.mend()
		s.at(20*time.Minute + 4*time.Second)
		s.want(a.ID, kapi.StatusFailed, "finished after it was given up: completed")
		s.at(30 * time.Minute)
		s.wantSeq(a.Seq + 3)
	})
}
