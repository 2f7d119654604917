package peer

import (
	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
)

// settleAllOwn settles this peer's own actions.
func (s *sweeper) settleAllOwn() {
	for _, e := range s.view.pick(func(e *entry) bool { return e.RunnerID() == s.self.ID }) {
		s.settleOwn(e)
	}
}

// settleOwn ends an action of this peer that it no longer runs: its end could not be recorded in
// time, or its start was committed but the answer was lost.
func (s *sweeper) settleOwn(e *entry) {
	running := s.ops.has(e.ID)
	rep, ended := s.ops.said(e.ID)
	now, ok := s.view.Get(e.ID) // it may have ended since e was read
	replaced := ok && now.NotProvenDead && now.Defined != nil && (!ended || rep.Fence != now.Fence)
	if running || !ok || now.RunnerID() != s.self.ID || !now.Status.Active() && !(ended && now.NotProvenDead) && !replaced {
		return
	}
	if !ended {
		state := "its start could not be confirmed, so it was not run"
		rep = rules.Report{Fence: now.Fence, Status: kapi.StatusFailed, State: &state}
	}
	c := submissionOf(rules.Change{Kind: rules.KindReport, ID: e.ID, Report: rep})
	switch {
	case replaced: // it was vacant before it failed, so this process can't report its end
		proof := rules.Verdict{Proven: "its run on " + now.Runner.Host + " has returned"}
		c = submissionOf(rules.Change{Kind: rules.KindVerdict, ID: e.ID, Verdict: proof})
	case !ended && s.ops.claimDoubted(e.ID) && now.Defined != nil && now.Defined.Resumable:
		c = submissionOf(rules.Change{Kind: rules.KindVacate, ID: e.ID, Fence: now.Fence}) // others may claim it
	}
	if err := s.commits.commit(s.ctx, c); err != nil {
		s.log.Warn("an action of this process that no longer runs can't be settled yet", "action", e.ID, "error", err)
		return
	}
	s.ops.forgetUnsaid(e.ID)
	s.ops.settled(e.ID)
}
