package peer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
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
// the store. If it dies before, or may not ask them, the keeper does. So they are asked twice only if a peer dies between
// the signal and the note.
type survivors struct {
	*sweeper
	// tried has those that this peer has asked, or could not ask, by action.
	tried map[string][]proc.Ref
	// waiting has the actions with survivors that nobody has asked.
	waiting map[string]neglect
	// unnoted are notes that the store doesn't have yet.
	unnoted []store.Asked
}

// A neglect is since when survivors of an action have been waiting to be asked, and the seq of the last verdict.
type neglect struct {
	seq   uint64
	since time.Duration
}

func (s *survivors) forget() {
	s.tried, s.waiting, s.unnoted = map[string][]proc.Ref{}, map[string]neglect{}, nil
}

// toAsk returns which of the survivors of an action have to be asked.
func (s *survivors) toAsk(e *entry, r *store.RunnerRecord, left []proc.Process) []proc.Process {
	if len(left) == 0 {
		delete(s.tried, e.ID)
	}
	// Asking an inner one is up to the inner runner or, if that is dead, to the peer that finds that out.
	left = slices.DeleteFunc(slices.Clone(left), func(p proc.Process) bool {
		return e.LeaveRunning || p.Inner || slices.Contains(s.tried[e.ID], p.Ref) || wasAsked(r.Asked, p.Ref, s.self.PIDNamespace)
	})
	if len(left) == 0 {
		delete(s.waiting, e.ID)
	}
	return left
}

// neglected reports whether it is up to the keeper to ask survivors, on which there is no new verdict.
func (s *survivors) neglected(e *entry, left []proc.Process) bool {
	if len(left) == 0 || !e.Status.Active() {
		return false
	}
	now := s.opts.sinceBoot()
	n, ok := s.waiting[e.ID]
	if !ok || n.seq != e.Seq {
		// There may be several keepers that see these processes.
		n = neglect{seq: e.Seq, since: now + rand.N(neglectedFor/2)}
		s.waiting[e.ID] = n
	}
	return now-n.since >= neglectedFor
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

// note notes in the store who was asked. After an error, the next look tries again.
func (s *survivors) note() {
	if len(s.unnoted) == 0 {
		return
	}
	ctx, cancel := store.WithPatience(s.ctx, s.opts.StoreTimeout)
	defer cancel(nil)
	if err := s.store.NoteAsked(ctx, s.unnoted); err != nil {
		if s.ctx.Err() == nil {
			s.log.Warn("it can't be recorded yet which processes were asked to end", "error", err)
		}
		return
	}
	s.unnoted = nil
}

// askedLine is a line of RunnerRecord.Asked: a process, and the PID namespace of the peer that has asked it.
func askedLine(p proc.Ref, namespace string) string {
	return fmt.Sprintf("%d %d %s\n", p.PID, p.StartTime, namespace)
}

// wasAsked reports whether the notes say that a process, which a peer in a namespace sees, was asked. A peer in another
// PID namespace knows it by another pid and, if it has a time namespace of its own, by another start time. Then whatever
// that has asked may be this process.
func wasAsked(notes string, p proc.Ref, namespace string) bool {
	_, clock, _ := strings.Cut(namespace, " ")
	for line := range strings.Lines(notes) {
		var asked proc.Ref
		by := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
		if _, err := fmt.Sscan(line, &asked.PID, &asked.StartTime); err != nil || len(by) != 3 {
			continue // the oldest notes were cut off
		}
		_, byClock, _ := strings.Cut(by[2], " ")
		if asked == p || by[2] != namespace && (byClock != clock || asked.StartTime == p.StartTime) {
			return true
		}
	}
	return false
}
