package peer

import (
	"errors"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/rules"
)

// A pronounced is a verdict on an action, and the change that writes it.
type pronounced struct {
	*entry
	*submission
	// survivors are those to ask, once it is written (see survivors).
	survivors []proc.Process
}

// verdictOn judges one action. It returns nil if the verdict is nothing new.
func verdictOn(e *entry, ev rules.Evidence, survivors []proc.Process) *pronounced {
	v := rules.Judge(&e.Record, ev)
	if v == (rules.Verdict{}) || v.Silence != "" && !rules.Replaces(&e.Record, v, time.Now().UnixMilli()) {
		return nil
	}
	return &pronounced{e, submissionOf(rules.Change{Kind: rules.KindVerdict, ID: e.ID, Verdict: v, Runner: e.Runner.ID, Beat: ev.Beat}), survivors}
}

// pronounce commits the verdicts, and asks the survivors of those that were written to end. If any
// verdict can't be written, it returns an error, and tries the others all the same.
func (s *sweeper) pronounce(verdicts []*pronounced) (unwritten error) {
	began := s.opts.sinceBoot()
	failed := func(v *pronounced, err error) {
		if errors.Is(err, kapi.ErrUnknown) {
			return // the action has ended
		}
		unwritten = err
		if s.ctx.Err() == nil {
			s.log.Warn("a silent action can't be marked yet", "action", v.ID, "error", err)
		}
	}
	for i, v := range verdicts {
		if err := s.commits.send(s.ctx, v.submission); err != nil {
			failed(v, err)
			verdicts = verdicts[:i]
			break
		}
	}
	for _, v := range verdicts {
		if err := s.commits.wait(s.ctx, v.submission); err != nil {
			failed(v, err)
			continue
		}
		if v.Changed && s.opts.sinceBoot()-began < askWithin {
			s.survivors.ask(v.entry, v.survivors)
		}
		switch record := &v.submission.Record; { // as it is now; the entry has what was judged
		case v.Verdict.Proven != "" && !record.NotProvenDead && !record.LateEnd:
			s.log.Info("the work of an action that was not proven dead is known to have ended", "action", v.ID, "title", v.Title, "why", v.Verdict.Proven)
		case v.Verdict.Failure != "" && record.Status == kapi.StatusFailed:
			s.log.Warn("action failed because of its runner", "action", v.ID, "title", v.Title, "why", v.Verdict.Failure)
		}
	}
	return unwritten
}
