package rules

import (
	"fmt"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// The cost of a long queue must not grow with the square of its length.

// A countingWorld counts how many waiting records were read.
type countingWorld struct {
	*world
	read int
}

func (w *countingWorld) Queue(key string) []*store.Record {
	waiting := w.world.Queue(key)
	w.read += len(waiting)
	return waiting
}

// queueUp returns a world in which a holds k, and n others wait for it, each with a key of its own besides.
func queueUp(t *testing.T, n int) *line {
	l := newLine(t)
	l.commit(starting("a", "k"))
	for i := range n {
		l.commit(l.queueing(fmt.Sprintf("w%03d", i), "k", fmt.Sprint("own-", i)))
	}
	return l
}

// TestLongQueueEnds: the end of a holder writes only the few that are near their turn, not all that wait.
func TestLongQueueEnds(t *testing.T) {
	const many = 100
	l := queueUp(t, many)
	far := l.get(fmt.Sprintf("w%03d", near))
	if want := fmt.Sprintf("w%03d", near-1); far.WaitsFor.Action != want || far.State != fmt.Sprintf(`waits behind "t" (%s)`, want) {
		t.Errorf("the first that isn't near its turn waits for %+v: %q", far.WaitsFor, far.State)
	}
	if last := l.get(fmt.Sprintf("w%03d", near-1)); last.WaitsFor.Action != "a" {
		t.Errorf("the last that is near its turn waits for %+v", last.WaitsFor)
	}
	for _, end := range []kapi.Status{kapi.StatusRunning, kapi.StatusCompleted} { // of w000; a ends before
		id := "a"
		if end == kapi.StatusRunning {
			l.commit(l.report(id, kapi.StatusCompleted))
			id = "w000"
		}
		w := l.commit(l.report("w000", end))
		if len(w.Update) > near+2 {
			t.Errorf("%s: %d records written, of %d that wait", id, len(w.Update), many)
		}
	}
	if next := l.get("w001"); len(next.Keys) != 2 {
		t.Errorf("the next has not got its keys: %+v", next)
	}
	// In the middle of the queue, only the next one hears of a departure.
	if w := l.commit(cancelling("w050")); len(w.Update) > 2 {
		t.Errorf("a cancel in the middle wrote %d records", len(w.Update))
	}
	if after := l.get("w051"); after.WaitsFor.Action != "w049" {
		t.Errorf("the one behind the cancelled one waits for %+v", after.WaitsFor)
	}
}

// TestLongQueueIsReadOnce: many changes of one batch read a queue a few times in all, not once for each change.
func TestLongQueueIsReadOnce(t *testing.T) {
	const many, all = 100, 200
	l := queueUp(t, all)
	w := &countingWorld{world: l.world}
	pl := NewPlan(w, l.head(), nil, 0, Limits{})
	for i := range many {
		c := judged(fmt.Sprintf("w%03d", 2*i), Verdict{Failure: "its runner died", ended: true})
		pl.Add(&c.Change)
	}
	if writes, _ := pl.Writes(); len(writes.Update) < many {
		t.Fatalf("wrote %d records", len(writes.Update))
	}
	if w.read > 20*all {
		t.Errorf("%d waiting records read for a batch of %d changes and a queue of %d", w.read, many, all)
	}
}

// TestOtherQueuesAreNotRead: changes that have nothing to do with a queue don't read it.
func TestOtherQueuesAreNotRead(t *testing.T) {
	l := queueUp(t, 20)
	l.commit(starting("b", "x"))
	w := &countingWorld{world: l.world}
	pl := NewPlan(w, l.head(), nil, 0, Limits{})
	for _, c := range []*wish{l.report("b", kapi.StatusCompleted), starting("c", "y"), starting("d")} {
		if o := pl.Add(&c.Change); o.Err != nil {
			t.Error(o.Err)
		}
	}
	if pl.Writes(); w.read > 0 {
		t.Errorf("%d waiting records were read", w.read)
	}
}
