package peer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/store"
)

const (
	// askWithin is how soon after its verdict a peer must ask the survivors to end. Otherwise it leaves them to the
	// keeper, which asks those that it has seen neglected for about neglectedFor.
	askWithin    = time.Second
	neglectedFor = 2 * time.Second
)

// Survivors are processes that dead runners have certainly left behind. Each is asked to end once, because many programs
// take a second SIGTERM as "end at once". The peer whose verdict on the action was written asks them, and notes that in
// the store. If it dies before, or may not ask them, the keeper does. So they are asked twice only if a peer ends, or
// can't reach the store, between the signal and the note. All of it belongs to whoever has entered the sweeper.
type survivors struct {
	*sweeper
	// tried has those that this peer has asked, or could not ask, by action.
	tried map[string][]proc.Ref
	// waiting has those that the keeper has seen, but not tried to ask, by action.
	waiting map[string]neglect
	// unnoted are notes that the store doesn't have yet. owes is set while there are some.
	unnoted []store.Asked
	owes    atomic.Bool
}

// A neglect is for how long survivors of an action may have been waiting to be asked.
type neglect struct {
	seq   uint64 // the action's: whoever has written a newer verdict may be about to ask
	since map[proc.Ref]time.Duration
}

// forget forgets the survivors, except what has to be noted.
func (s *survivors) forget() {
	s.tried, s.waiting = map[string][]proc.Ref{}, map[string]neglect{}
}

// prune forgets the survivors of actions that are not in the view any more.
func (s *survivors) prune() {
	for id := range s.tried {
		if _, ok := s.view.Get(id); !ok {
			delete(s.tried, id)
		}
	}
	for id := range s.waiting {
		if _, ok := s.view.Get(id); !ok {
			delete(s.waiting, id)
		}
	}
}

// toAsk returns which of the survivors of an action have to be asked.
func (s *survivors) toAsk(e *entry, x *examined, left []proc.Process) []proc.Process {
	if len(left) == 0 {
		delete(s.tried, e.ID)
		delete(s.waiting, e.ID)
		return nil
	}
	if x.asked == nil {
		x.asked = readAsked(x.record.Asked, s.self.PIDNamespace)
	}
	// Asking an inner one is up to the inner runner or, if that is dead, to the peer that finds that out.
	return slices.DeleteFunc(slices.Clone(left), func(p proc.Process) bool {
		return e.LeaveRunning || p.Inner || slices.Contains(s.tried[e.ID], p.Ref) || x.asked.has(p.Ref)
	})
}

// neglected returns those of the survivors, on which there is no new verdict, that it is up to the keeper to ask.
func (s *survivors) neglected(e *entry, left []proc.Process) (due []proc.Process) {
	now, before := s.opts.sinceBoot(), s.waiting[e.ID]
	n := neglect{seq: e.Seq, since: map[proc.Ref]time.Duration{}}
	for _, p := range left {
		since, ok := before.since[p.Ref]
		if !ok || before.seq != e.Seq {
			since = now + rand.N(neglectedFor/2) // there may be several keepers that see this process
		}
		if now-since >= neglectedFor {
			due = append(due, p)
		}
		n.since[p.Ref] = since
	}
	if s.waiting[e.ID] = n; len(n.since) == 0 || !e.Status.Active() {
		delete(s.waiting, e.ID)
		return nil
	}
	return due
}

// ask asks survivors of an action to end.
func (s *survivors) ask(e *entry, left []proc.Process) {
	var note strings.Builder
	for _, p := range left {
		s.tried[e.ID] = append(s.tried[e.ID], p.Ref)
		if err := proc.Signal(p.Ref, syscall.SIGTERM); err != nil {
			s.log.Warn("a process that a dead runner left behind can't be asked to end", "action", e.ID, "name", p.Name, "error", err)
			continue
		}
		s.log.Info("asked a process that a dead runner left behind to end", "action", e.ID, "pid", p.PID, "name", p.Name)
		note.WriteString(askedLine(p.Ref, s.self.PIDNamespace))
	}
	if note.Len() > 0 {
		s.unnoted = append(s.unnoted, store.Asked{Runner: e.Runner.ID, Note: note.String()})
	}
}

// note notes in the store who was asked. After an error, the sweeper's next tick tries again.
func (s *survivors) note() {
	if len(s.unnoted) == 0 {
		return
	}
	ctx, cancel := store.WithPatience(s.ctx, s.opts.StoreTimeout)
	defer cancel(nil)
	if err := s.store.NoteAsked(ctx, s.unnoted); err != nil {
		s.owes.Store(true)
		if s.ctx.Err() == nil {
			s.log.Warn("it can't be recorded yet which processes were asked to end", "error", err)
		}
		return
	}
	s.unnoted = nil
	s.owes.Store(false)
}

// noteLate notes what could not be noted before.
func (s *survivors) noteLate() {
	if !s.owes.Load() {
		return
	}
	if leave, ok := s.enter(s.ctx); ok {
		defer leave()
		s.note()
	}
}

// askedLine is a line of RunnerRecord.Asked: a process, and the PID namespace of the peer that has asked it.
func askedLine(p proc.Ref, namespace string) string {
	return fmt.Sprintf("%d %d %s\n", p.PID, p.StartTime, namespace)
}

// An asked has the processes of RunnerRecord.Asked, as they may be known to a peer.
type asked struct {
	// here are those that peers in the same PID namespace have asked. A peer in another one knows a process by another
	// pid, so elsewhere has only when they were started; and if it has a time namespace of its own, not even that can be
	// compared, so that it may be any.
	here      map[proc.Ref]bool
	elsewhere map[uint64]bool
	any       bool
}

// readAsked parses RunnerRecord.Asked for a peer in a PID namespace.
func readAsked(notes, namespace string) *asked {
	a := &asked{here: map[proc.Ref]bool{}, elsewhere: map[uint64]bool{}}
	_, clock, _ := strings.Cut(namespace, " ")
	for line := range strings.Lines(notes) {
		pid, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		start, by, ok := strings.Cut(rest, " ")
		p, err := strconv.Atoi(pid)
		began, err2 := strconv.ParseUint(start, 10, 64)
		if !ok || err != nil || err2 != nil {
			continue // the oldest notes were cut off
		}
		switch _, byClock, _ := strings.Cut(by, " "); {
		case by == namespace:
			a.here[proc.Ref{PID: p, StartTime: began}] = true
		case byClock == clock:
			a.elsewhere[began] = true
		default:
			a.any = true
		}
	}
	return a
}

// has reports whether a process may have been asked.
func (a *asked) has(p proc.Ref) bool { return a.any || a.here[p] || a.elsewhere[p.StartTime] }
