package peer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

const noWord = "no word from bot-2 since 2000-01-01T00:00:00Z"

// The action of a runner that is only silent is impacted after its lease, and fails after GiveUp. But
// the runner may be alive, so the key stays held until somebody dismisses the action.
func TestSilence(t *testing.T) {
	me := proc.Self()
	oneMachine := func(change func(*store.RunnerRecord)) func(*scene, *store.RunnerRecord) {
		return func(s *scene, r *store.RunnerRecord) {
			s.link.oneMachine = true
			r.BootID = me.BootID
			change(r)
		}
	}
	for name, tt := range map[string]struct {
		change        func(*scene, *store.RunnerRecord)
		lease, giveUp time.Duration
	}{
		"another machine":       {},
		"another PID namespace": {change: oneMachine(func(r *store.RunnerRecord) { r.PIDNamespace = "pid:[1] time:[1]" })},
		"no boot id":            {change: oneMachine(func(r *store.RunnerRecord) { r.BootID = "" })},
		"no PID namespace":      {change: oneMachine(func(r *store.RunnerRecord) { r.PIDNamespace = "" })},
		"no start time":         {change: oneMachine(func(r *store.RunnerRecord) { r.StartTime = 0 })},
		"a lease of its own": {
			change: func(_ *scene, r *store.RunnerRecord) { r.Lease = 40 * time.Second },
			lease:  40 * time.Second,
		},
		"a long lease": {
			change: func(_ *scene, r *store.RunnerRecord) { r.Lease = 5 * time.Minute },
			lease:  5 * time.Minute, giveUp: 5 * time.Minute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.lease == 0 {
				tt.lease = sceneLease
			}
			if tt.giveUp == 0 {
				tt.giveUp = sceneGiveUp
			}
			play(t, func(t *testing.T, s *scene) {
				runner := stranger()
				if tt.change != nil {
					tt.change(s, &runner)
				}
				left := s.leave(runner)
				s.open()
				s.at(tt.lease - time.Second)
				s.want(left.ID, kapi.StatusRunning, "slot 5")
				if tt.lease < tt.giveUp {
					s.at(tt.lease)
					s.want(left.ID, kapi.StatusImpacted, noWord)
					s.at(tt.giveUp - time.Second)
					s.want(left.ID, kapi.StatusImpacted, noWord)
				}
				s.at(tt.giveUp)
				s.want(left.ID, kapi.StatusFailed, noWord+"; not proven dead; it last said: slot 5")
				s.wantHeld(left.ID)
				s.at(10 * time.Minute)
				s.wantHeld(left.ID)
				if _, err := s.k.Dismiss(t.Context(), left.ID, "ada"); err != nil {
					t.Error(err)
				}
				start(t, s.k, kapi.Spec{Keys: left.Keys}, untilStopped)
			})
		})
	}
}

// A pending action can't be impacted, but its state says that its runner is silent.
func TestSilenceOfAPendingAction(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		left := s.leave(stranger(), func(r *store.Record) { r.Status, r.StartedAt, r.State = kapi.StatusPending, 0, "" })
		s.open()
		s.at(sceneLease)
		s.want(left.ID, kapi.StatusPending, noWord)
		s.at(sceneGiveUp)
		s.want(left.ID, kapi.StatusFailed, noWord+"; not proven dead")
	})
}

// A runner whose record the store has dropped is judged only by its silence.
func TestForgottenRunner(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		left := s.leave(stranger())
		s.commit(func(seq uint64) store.Writes { // the store has no record of the new runner
			left.Seq, left.Runner = seq, &kapi.Runner{ID: "nobody", Host: "bot-2", PID: 1, HeardAt: left.Runner.HeardAt}
			return store.Writes{Update: []store.Record{left}}
		})
		s.open()
		s.at(sceneLease - time.Second)
		s.want(left.ID, kapi.StatusRunning, "slot 5")
		s.at(sceneLease)
		s.want(left.ID, kapi.StatusImpacted, noWord)
		s.at(sceneGiveUp)
		s.want(left.ID, kapi.StatusFailed, noWord+"; not proven dead; it last said: slot 5")
	})
}

// Each renewal begins the silence anew. A renewal alone doesn't change the action.
func TestRenewalEndsSilence(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		runner := stranger()
		left := s.leave(runner)
		s.open()
		for s.now() < 10*time.Minute { // each renewal just in time
			s.at(s.now() + sceneLease - time.Second)
			s.hear(runner)
		}
		s.wantSeq(left.Seq)
		renewed := s.now() + time.Second // seen by the next sweep
		s.at(renewed + sceneLease - time.Second)
		s.want(left.ID, kapi.StatusRunning, "slot 5")
		s.at(renewed + sceneGiveUp - time.Second)
		s.want(left.ID, kapi.StatusImpacted, s.noWordSince(renewed-time.Second))
		s.hear(runner) // at the last moment
		s.at(renewed + 2*sceneGiveUp - time.Second)
		again := s.noWordSince(renewed + sceneGiveUp - time.Second)
		s.want(left.ID, kapi.StatusImpacted, again)
		s.at(renewed + 2*sceneGiveUp)
		s.want(left.ID, kapi.StatusFailed, again+"; not proven dead; it last said: slot 5")
	})
}

func (s *scene) noWordSince(moment time.Duration) string {
	return "no word from bot-2 since " + s.began.Add(moment).UTC().Format(time.RFC3339)
}

// A far runner is a peer that seems to be on another machine. It renews every 5 s, a quarter of a second
// after the full second.
func (s *scene) far(op kapi.Operation, o peer.Options) (l *link, done chan error) {
	l = &link{Store: s.store, disguise: func(r *store.RunnerRecord) {
		it := stranger()
		r.Host, r.BootID = it.Host, it.BootID
	}}
	s.at(0)
	k := s.openPeer(l, o)
	done = make(chan error, 1)
	go func() {
		done <- k.Do(s.t.Context(), kapi.Spec{Title: "Resharding", Keys: []string{"reshard"}, ReleaseOnFailure: true}, op)
	}()
	return l, done
}

// When a runner is heard again, its action is shown as it was before.
func TestHeardAgain(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.open()
		runner, done := s.far(func(ctx context.Context, h kapi.Handle) error {
			h.SetProgress(0.25)
			h.SetState("slot 5")
			<-ctx.Done()
			return ctx.Err()
		}, peer.Options{})
		s.at(6 * time.Second)
		a := s.theOnly()
		runner.cut() // the watcher saw its renewal at the sixth second
		s.at(5*time.Second + sceneLease)
		s.want(a.ID, kapi.StatusRunning, "slot 5")
		s.at(6*time.Second + sceneLease)
		s.want(a.ID, kapi.StatusImpacted, "no word from bot-2 since 2000-01-01T00:00:05Z")
		s.at(sceneGiveUp)
		s.wantSeq(a.Seq + 1)
		runner.mend()
		s.at(sceneGiveUp + 2*time.Second) // before the next regular renewal
		b := s.want(a.ID, kapi.StatusRunning, "slot 5")
		if b.Seq != a.Seq+2 || b.Progress == nil || *b.Progress != 0.25 || b.Runner.HeardAt <= a.Runner.HeardAt {
			t.Errorf("restored as %+v, was %+v", b, a)
		}
		s.at(10 * time.Minute)
		s.wantSeq(b.Seq)
		if _, err := s.k.Cancel(t.Context(), a.ID, "ada"); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// theOnly returns the only ongoing action.
func (s *scene) theOnly() kapi.Action {
	s.t.Helper()
	all, err := s.k.List(s.t.Context())
	if err != nil || len(all) != 1 {
		s.t.Fatalf("listed %+v, %v", all, err)
	}
	return all[0]
}

// A runner that was given up is told so, and may still report its end once.
func TestHeardTooLate(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.open()
		causes := make(chan error, 1)
		runner, done := s.far(func(ctx context.Context, _ kapi.Handle) error {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return errors.New("slot 6 is broken")
		}, peer.Options{})
		s.at(6 * time.Second)
		a := s.theOnly()
		runner.cut()
		s.at(time.Hour)
		s.want(a.ID, kapi.StatusFailed, "no word from bot-2 since 2000-01-01T00:00:05Z; not proven dead")
		runner.mend()
		s.at(time.Hour + 2*time.Second)
		wantError(t, <-causes, kapi.ErrGivenUp)
		<-done
		s.want(a.ID, kapi.StatusFailed, "finished after it was given up: slot 6 is broken")
		s.wantSeq(a.Seq + 3) // impacted, failed, and this
	})
}
