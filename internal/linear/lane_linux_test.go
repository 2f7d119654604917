package linear

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
)

// maxOwn is how many actions a lane runs at once.
const maxOwn = 2

// A lane is one caller, which makes one call at a time.
type lane struct {
	*member
	n      int
	random *rand.Rand
	titles int
	down   bool // the store was down at the last call
	own    []*own
	failed []kapi.Action // failed actions that it saw, and may dismiss
}

// An own is an action whose operation the lane runs.
type own struct {
	title  string
	handle kapi.Handle
	said   *string    // last state set through the handle
	finish chan error // what the operation is to return
	ended  chan error // what Do returned
}

func newLane(p *member, n int) *lane {
	return &lane{member: p, n: n, random: rand.New(rand.NewPCG(p.Seed, uint64(n)))}
}

// work makes calls until ctx ends, then ends the operations that it runs.
func (l *lane) work(ctx context.Context) {
	for ctx.Err() == nil {
		l.any()
		rest := time.Duration(l.random.IntN(int(2 * pace)))
		if l.down {
			rest *= 10 // while PostgreSQL recovers, each connection makes it fork
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
		}
	}
	for len(l.own) > 0 {
		l.end(0)
	}
}

// begin is member.begin, and records whether the store can be reached.
func (l *lane) begin(c call) func(*answer) {
	done := l.member.begin(c)
	return func(a *answer) {
		l.down = a.Outcome == unavailable || a.Outcome == uncertain
		done(a)
	}
}

// pace is the average pause between two calls of a lane.
const pace = 25 * time.Millisecond

func (l *lane) any() {
	dice := l.random.IntN(100)
	if len(l.own) > 0 && dice < 50 {
		i := l.random.IntN(len(l.own))
		if dice < 25 {
			l.reportOwn(l.own[i])
		} else {
			l.end(i)
		}
		return
	}
	switch dice := l.random.IntN(100); {
	case dice < 40:
		l.start()
	case dice < 68:
		l.reportAny()
	case dice < 84:
		l.dismissAny()
	case l.light():
		l.start()
	case dice < 93:
		l.list()
	default:
		l.getAny()
	}
}

// light reports whether the member never asks for the actions of others, so that it stays a light peer
// unless it is the keeper. Half of them do so.
func (l *lane) light() bool { return l.Seed%2 == 0 }

func (l *lane) chance(percent int) bool { return l.random.IntN(100) < percent }

// title returns a new title, which also serves as a unique state.
func (l *lane) title() string {
	l.titles++
	return fmt.Sprintf("%s.%d.%d", l.Name, l.n, l.titles)
}

func (l *lane) start() {
	spec := kapi.Spec{Title: l.title(), ReleaseOnFailure: l.chance(30), DismissFailed: l.chance(20)}
	for _, i := range l.random.Perm(len(keys))[:1+l.random.IntN(3)] {
		spec.Keys = append(spec.Keys, keys[i])
	}
	c := call{
		Kind: start, Lane: l.n, Title: spec.Title, Keys: spec.Keys, Release: spec.ReleaseOnFailure, Dismiss: spec.DismissFailed,
		Remote: len(l.own) == maxOwn || l.chance(40),
	}
	var err error
	if c.Remote {
		err = l.startRemote(c, spec)
	} else {
		err = l.startOwn(c, spec)
	}
	var refused *kapi.HeldError
	if errors.As(err, &refused) && l.chance(70) {
		l.clear(refused.Holder)
	}
}

func (l *lane) startRemote(c call, spec kapi.Spec) error {
	done := l.begin(c)
	spec.Host = "elsewhere"
	r, err := l.StartRemote(context.Background(), peer.RemoteSpec{Spec: spec})
	done(answered(err, r.Action))
	if err == nil {
		l.share(grant{r.Action.ID, spec.Title, r.Fence, true})
	}
	return err
}

// startOwn starts an action whose operation does nothing until it is told how to end.
func (l *lane) startOwn(c call, spec kapi.Spec) error {
	o := &own{title: spec.Title, finish: make(chan error), ended: make(chan error, 1)}
	running := make(chan kapi.Handle)
	done := l.begin(c)
	go func() { // ends in end, which waits for it
		o.ended <- l.Do(context.Background(), spec, func(_ context.Context, h kapi.Handle) error {
			running <- h
			return <-o.finish
		})
	}()
	select {
	case o.handle = <-running:
		done(answered(nil, o.handle.Action()))
	case err := <-o.ended:
		done(answered(err))
		return err
	}
	l.own = append(l.own, o)
	l.share(grant{o.handle.ID(), spec.Title, o.handle.Fence(), false})
	return nil
}

// end has an operation return. When Do returns, the end is on disk.
func (l *lane) end(i int) {
	o := l.own[i]
	l.own = slices.Delete(l.own, i, i+1)
	c := call{Kind: end, Lane: l.n, Title: o.title, Fence: o.handle.Fence(), Status: kapi.StatusCompleted, State: o.said, Handle: true}
	var failure error
	if l.chance(40) {
		text := l.title()
		c.Status, c.State, failure = kapi.StatusFailed, &text, errors.New(text)
	}
	done := l.begin(c)
	o.finish <- failure
	err := <-o.ended
	if failure != nil && err != nil && err.Error() == failure.Error() {
		err = nil // only the operation's own error
	}
	done(answered(err))
}

func (l *lane) share(g grant) {
	if err := l.fences.add(g); err != nil {
		panic(err) // one of the test's files
	}
}

// choose returns one of the newest grants, and another one, whose fence is wrong for the first.
func (l *lane) choose() (g, other grant, ok bool) {
	all, err := l.fences.latest()
	if err != nil {
		panic(err)
	}
	if len(all) == 0 {
		return g, other, false
	}
	return all[l.random.IntN(len(all))], all[l.random.IntN(len(all))], true
}
