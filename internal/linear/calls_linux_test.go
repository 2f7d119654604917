package linear

import (
	"context"
	"slices"

	"github.com/kettubot/kapi"
)

// reportOwn reports through the action's handle, as an operation does.
func (l *lane) reportOwn(o *own) {
	c := call{Kind: report, Lane: l.n, Title: o.title, Fence: o.handle.Fence(), Status: kapi.StatusImpacted, Handle: true}
	state := l.title()
	recovers := l.chance(30)
	if recovers {
		c.Status, state = kapi.StatusRunning, "" // the state before the trouble was empty
	}
	c.State, o.said = &state, &state
	done := l.begin(c)
	if recovers {
		done(answered(o.handle.Recovered()))
	} else {
		done(answered(o.handle.Impacted(state)))
	}
}

// reportAny reports on an action that any peer may have started: with the right fence if its work is
// done elsewhere, and with another action's fence on any.
func (l *lane) reportAny() {
	g, other, ok := l.choose()
	if !ok {
		return
	}
	if l.chance(35) || !g.Remote {
		if g.Fence == other.Fence {
			return
		}
		g.Fence = other.Fence
	}
	state := l.title()
	c := call{Kind: report, Lane: l.n, Title: g.Title, Fence: g.Fence, State: &state}
	switch dice := l.random.IntN(100); {
	case dice < 25:
		c.Status = kapi.StatusImpacted
	case dice < 45:
		c.Status = kapi.StatusRunning
	case dice < 60:
		c.Status = kapi.StatusCompleted
	case dice < 75:
		c.Status = kapi.StatusFailed
	}
	c.Reset = l.chance(10)
	if l.chance(50) {
		progress := float64(l.random.IntN(101)) / 100
		c.Progress = &progress
	}
	l.report(c, g)
}

func (l *lane) report(c call, g grant) {
	r := kapi.Report{Fence: c.Fence, State: c.State, Progress: c.Progress, ResetProgress: c.Reset}
	if c.Status != 0 {
		r.Status = &c.Status
	}
	if l.Bug == fenceIgnored {
		r.Fence = l.rightFence(g)
	}
	done := l.begin(c)
	after, err := l.Report(context.Background(), g.ID, r)
	done(answered(err, after.Action))
}

// clear dismisses a failed holder, and completes one whose work is done elsewhere.
func (l *lane) clear(holder kapi.Action) {
	if holder.Status == kapi.StatusFailed {
		l.dismiss(holder.ID, holder.Title)
		return
	}
	all, err := l.fences.latest()
	if err != nil {
		panic(err)
	}
	for _, g := range all {
		if g.ID == holder.ID && g.Remote {
			state := l.title()
			l.report(call{Kind: report, Lane: l.n, Title: g.Title, Fence: g.Fence, State: &state, Status: kapi.StatusCompleted}, g)
		}
	}
}

// dismissAny dismisses an action that was seen as failed, or any other one.
func (l *lane) dismissAny() {
	if len(l.failed) > 0 {
		a := l.failed[0]
		l.failed = l.failed[1:]
		l.dismiss(a.ID, a.Title)
	} else if g, _, ok := l.choose(); ok && l.chance(30) {
		l.dismiss(g.ID, g.Title)
	}
}

func (l *lane) dismiss(id, title string) {
	done := l.begin(call{Kind: dismiss, Lane: l.n, Title: title})
	a, err := l.Dismiss(context.Background(), id, l.Name)
	done(answered(err, a))
}

func (l *lane) getAny() {
	g, _, ok := l.choose()
	if !ok {
		return
	}
	done := l.begin(call{Kind: get, Lane: l.n, Title: g.Title})
	a, err := l.Get(context.Background(), g.ID)
	done(answered(err, a))
}

func (l *lane) list() {
	done := l.begin(call{Kind: list, Lane: l.n})
	all, err := l.List(context.Background())
	done(answered(err, all...))
	l.failed = slices.DeleteFunc(all, func(a kapi.Action) bool { return a.Status != kapi.StatusFailed })
	l.random.Shuffle(len(l.failed), func(i, j int) { l.failed[i], l.failed[j] = l.failed[j], l.failed[i] })
}
