package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A line is a world to which batches are applied one after the other.
type line struct {
	t     testing.TB
	world *world
	seq   uint64
}

func newLine(t testing.TB) *line {
	t.Helper()
	return &line{t, aWorld(), 10}
}

func (l *line) head() store.Loaded {
	return store.Loaded{Page: store.Page{Head: store.Head{Epoch: "e", Seq: l.seq}}}
}

// commit applies a batch in one transaction.
func (l *line) commit(batch ...*wish) store.Writes {
	l.t.Helper()
	return l.transact(nil, nil, batch...)
}

func (l *line) queueing(id string, keys ...string) *wish {
	c := starting(id, keys...)
	c.Wait = true
	return c
}

func (l *line) get(id string) store.Record {
	r, _ := l.world.Get(id)
	return r
}

// report makes a report with the action's own fence.
func (l *line) report(id string, status kapi.Status) *wish {
	return reporting(id, Report{Fence: l.get(id).Fence, Status: status})
}

// want compares the "id status keys/waits" of all ongoing actions, sorted by id.
func (l *line) want(want ...string) {
	l.t.Helper()
	var got []string
	for _, e := range l.world.records {
		got = append(got, fmt.Sprintf("%s %s %s/%s", e.ID, e.Status, strings.Join(e.Keys, ","), strings.Join(e.Waits, ",")))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		l.t.Errorf("got %q, want %q", got, want)
	}
}

func TestQueue(t *testing.T) {
	l := newLine(t)
	l.commit(starting("a", "k"), l.queueing("b", "k", "m"), l.queueing("c", "k"), l.queueing("d", "z"))
	l.want("a running k/", "b pending /k,m", "c pending /k", "d running z/")
	if b, c := l.get("b"), l.get("c"); b.State != `waits for "t" (a)` || c.State != `waits behind "t" (b)` && c.State != `waits for "t" (a)` {
		t.Errorf("b %q, c %q", b.State, c.State)
	}
	// A later start doesn't overtake, not even for a key that is free.
	late := starting("e", "m")
	l.commit(late)
	var held *kapi.HeldError
	if !errors.As(late.Err, &held) || held.Holder.ID != "b" || !held.Waiting() {
		t.Errorf("a start with a key that another action waits for: %v", late.Err)
	}
	// The waiter gets the keys in the transaction that frees them, before a start of the same batch.
	late = starting("e", "k")
	w := l.commit(l.report("a", kapi.StatusCompleted), late)
	if !errors.As(late.Err, &held) || held.Holder.ID != "b" {
		t.Errorf("a start right behind the end: %v", late.Err)
	}
	if !slices.Contains(w.Claim, store.Claim{Key: "k", Action: "b"}) || !slices.Contains(w.Claim, store.Claim{Key: "m", Action: "b"}) || !slices.Equal(w.Free, []string{"k"}) {
		t.Errorf("writes %+v", w)
	}
	l.want("b pending k,m/", "c pending /k", "d running z/")
	b := l.get("b")
	if b.State != "" || b.Fence <= b.Ticket {
		t.Errorf("b is %+v", b)
	}
	if c := l.get("c"); c.State != `waits for "t" (b)` {
		t.Errorf("c %q", c.State)
	}
	// It begins with the new fence; until then its ticket is accepted for signs of life.
	early := reporting("b", Report{Fence: b.Ticket, Status: kapi.StatusRunning})
	l.commit(early, reporting("b", Report{Fence: b.Ticket}))
	if !errors.Is(early.Err, kapi.ErrWaiting) {
		t.Errorf("it began with its ticket: %v", early.Err)
	}
	l.commit(l.report("b", kapi.StatusRunning))
	l.want("b running k,m/", "c pending /k", "d running z/")
	stale := reporting("b", Report{Fence: b.Ticket})
	if l.commit(stale); !errors.Is(stale.Err, kapi.ErrStaleFence) {
		t.Errorf("its ticket is still accepted: %v", stale.Err)
	}
	l.commit(l.report("b", kapi.StatusFailed))
	if c := l.get("c"); c.State != `waits until "t" (b), which failed, is dismissed` {
		t.Errorf("c %q", c.State)
	}
	l.commit(dismissing("b"))
	l.want("c pending k/", "d running z/")
}

// A waiter that gives up, is cancelled, silent or dead is passed over, and leaves nothing behind.
func TestQueuePassesOver(t *testing.T) {
	silent := func(id string) *wish { return judged(id, Verdict{Silence: "no word"}) }
	dead := func(id string) *wish { return judged(id, Verdict{Failure: "its runner died", ended: true}) }
	cancelled := cancelling
	l := newLine(t)
	l.commit(starting("a", "k"), l.queueing("b", "k"), l.queueing("c", "k"), l.queueing("d", "k"), l.queueing("e", "k"), l.queueing("f", "k"))
	gaveUp := l.report("c", kapi.StatusFailed)
	l.commit(silent("b"), gaveUp, cancelled("d"), dead("e"))
	if r := gaveUp.Record; r.Status != kapi.StatusAborted || len(r.Waits) != 0 {
		t.Errorf("c ended as %+v", r)
	}
	l.want("a running k/", "b pending /k", "d pending /k", "f pending /k")
	l.commit(l.report("a", kapi.StatusCompleted))
	l.want("b pending /k", "d pending /k", "f pending k/")
	// An action that falls silent before it has begun loses its keys again; a silent waiter that is heard
	// again gets its old place back.
	l.commit(l.queueing("g", "k"), reporting("b", Report{Fence: l.get("b").Ticket}))
	l.commit(silent("f"))
	l.want("b pending k/", "d pending /k", "f pending /k", "g pending /k")
	began := reporting("f", Report{Fence: l.get("f").Fence, Status: kapi.StatusRunning})
	if l.commit(began); !errors.Is(began.Err, kapi.ErrWaiting) {
		t.Errorf("f began: %v", began.Err)
	}
	l.commit(l.report("b", kapi.StatusFailed)) // it never began, so there is nothing to inspect
	l.want("d pending /k", "f pending /k", "g pending k/")
	l.commit(dead("f"), dead("d"))
	l.want("g pending k/")
}

// Two actions that want each other's keys get them one after the other.
func TestQueueOfSeveralKeys(t *testing.T) {
	l := newLine(t)
	l.commit(starting("a", "x"), starting("b", "y"), l.queueing("c", "x", "y"), l.queueing("d", "y", "x"), l.queueing("e", "z"))
	l.want("a running x/", "b running y/", "c pending /x,y", "d pending /y,x", "e running z/")
	l.commit(l.report("b", kapi.StatusCompleted))
	l.want("a running x/", "c pending /x,y", "d pending /y,x", "e running z/")
	l.commit(l.report("a", kapi.StatusCompleted))
	l.want("c pending x,y/", "d pending /y,x", "e running z/")
	l.commit(l.report("c", kapi.StatusRunning))
	l.commit(l.report("c", kapi.StatusCompleted))
	l.want("d pending y,x/", "e running z/")
}

// A holder that a waiter dismisses may have blocked an earlier waiter.
func TestQueueAdvancesAgain(t *testing.T) {
	l := newLine(t)
	dismisses := l.queueing("e", "b")
	dismisses.DismissFailed = true
	l.commit(starting("a", "b", "c"), l.queueing("d", "c"), dismisses)
	l.commit(l.report("a", kapi.StatusFailed))
	l.want("d pending c/", "e pending b/")
}

// A start that would wait for an action that it is part of is refused, as it would wait forever.
func TestQueueNotForOneself(t *testing.T) {
	silent := judged("w", Verdict{Silence: "no word"})
	failure := func(ended bool) *wish { return judged("a", Verdict{Failure: "it failed", ended: ended}) }
	cancelled := cancelling("w")
	for _, tt := range []struct {
		name     string
		before   *wish
		keys     []string
		within   []string
		key      string // that the refusal names, "" if it is not refused
		holder   string
		circular bool
	}{
		{"its own key", nil, []string{"k"}, []string{"a"}, "k", "a", true},
		{"a key further out", nil, []string{"k"}, []string{"a", "gone"}, "k", "a", true},
		{"behind another's key", nil, []string{"j", "k"}, []string{"a"}, "k", "a", true},
		{"another's key", nil, []string{"j"}, []string{"a"}, "", "", false},
		{"a key that one waits for who waits for its own", nil, []string{"m"}, []string{"a"}, "m", "w", true},
		{"and at one remove", nil, []string{"n"}, []string{"a"}, "n", "v", true},
		{"who waits is silent, but may come back", silent, []string{"j", "m"}, []string{"a"}, "m", "w", true},
		{"who waits is about to leave", cancelled, []string{"j", "m"}, []string{"a"}, "", "", false},
		{"it has failed, and somebody may dismiss it", failure(true), []string{"k"}, []string{"a"}, "", "", false},
		{"it is not proven dead", failure(false), []string{"k"}, []string{"a"}, "k", "a", true},
		{"it is part of nothing", nil, []string{"k", "m", "n"}, nil, "", "", false},
	} {
		for _, wait := range []bool{true, false} {
			l := newLine(t)
			l.commit(starting("a", "k"), starting("z", "j"), l.queueing("w", "m", "k"), l.queueing("v", "n", "m"))
			if tt.before != nil {
				l.commit(tt.before)
			}
			c := starting("c", tt.keys...)
			c.Wait, c.Within = wait, tt.within
			l.commit(c)
			var held *kapi.HeldError
			switch refused := errors.As(c.Err, &held); {
			case wait && tt.key == "":
				if c.Err != nil || c.Record.Status != kapi.StatusPending {
					t.Errorf("%s: %v, %+v", tt.name, c.Err, c.Record)
				}
			case !refused || held.Circular != tt.circular || tt.circular && (held.Key != tt.key || held.Holder.ID != tt.holder):
				t.Errorf("%s (waits: %v): %v, %+v", tt.name, wait, c.Err, held)
			}
		}
	}
}

// Each of many waiters costs a look at its keys, not a look at all the others.
func BenchmarkAdvance(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := newLine(b)
			l.commit(starting("a", "k"), l.queueing("b", "m", "k"))
			for i := range n {
				l.commit(l.queueing(fmt.Sprint("w", i), "m"))
			}
			for b.Loop() {
				pl := plannedOn(l.world, l.head())
				pl.addAll(l.report("a", kapi.StatusCompleted))
			}
		})
	}
}

// When a waiter falls silent or is cancelled, an action that waits only behind it gets its keys at once.
func TestQueueBehindTheSilent(t *testing.T) {
	for name, leave := range map[string]*wish{
		"silent": judged("b", Verdict{Silence: "no word"}), "cancelled": cancelling("b"),
	} {
		t.Run(name, func(t *testing.T) {
			l := newLine(t)
			l.commit(starting("a", "k"), l.queueing("b", "k", "m"), l.queueing("c", "m"))
			l.want("a running k/", "b pending /k,m", "c pending /m")
			l.commit(leave)
			l.want("a running k/", "b pending /k,m", "c pending m/")
		})
	}
}
