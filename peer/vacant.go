package peer

import (
	"errors"
	"fmt"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
)

// An action that waits for another runner fails when none has come for as long as its operation says (kapi.Resume). The
// keeper watches that. What one keeper has watched is not handed on to the next.

// vacancies are the actions without a runner that the keeper watches.
type vacancies struct {
	seen map[string]vacancy
	last time.Duration // when they were last looked at
}

// A vacancy is how long the keeper has seen an action wait for a runner while one might have come.
type vacancy struct {
	fence  uint64
	waited time.Duration
}

// abandon fails the actions that have waited for a runner for too long. The time for which this process or the machine
// was stopped doesn't count, and a paused action's time stands still.
func (s *sweeper) abandon() {
	now := s.opts.awake()
	went := min(now-s.vacancies.last, 2*s.opts.sweepEvery)
	s.vacancies.last = now
	seen := map[string]vacancy{}
	for _, e := range s.view.pick(func(e *entry) bool { return e.Defined != nil && e.Defined.Vacant && e.Status.Active() }) {
		v, known := s.vacancies.seen[e.ID]
		if !known || v.fence != e.Fence {
			v = vacancy{fence: e.Fence}
		} else if e.PausedBy == "" {
			v.waited += went
		}
		seen[e.ID] = v
		within := time.Duration(e.Defined.Within) * time.Millisecond
		if e.PausedBy != "" || v.waited < within {
			continue
		}
		reason := fmt.Sprintf("no runner took it over within %v", within)
		c := submissionOf(rules.Change{Kind: rules.KindAbandon, ID: e.ID, Fence: e.Fence, Reason: reason})
		switch err := s.commits.commit(s.ctx, c); {
		case err == nil:
			s.log.Warn("action failed because it has no runner", "action", e.ID, "title", e.Title, "why", reason)
		case !errors.Is(err, kapi.ErrUnknown) && !errors.Is(err, kapi.ErrStaleFence) && s.ctx.Err() == nil:
			s.log.Warn("an action that no runner takes over can't be failed yet", "action", e.ID, "error", err)
		}
	}
	s.vacancies.seen = seen
}
