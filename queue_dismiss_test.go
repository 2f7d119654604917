package kapi

import (
	"errors"
	"testing"
)

func TestQueueDismissesFailed(t *testing.T) {
	l := newLine(t)
	wants := l.queueing("b", "k")
	wants.dismissFailed = true
	l.commit(starting("a", "k"), wants, l.queueing("c", "k"))
	l.commit(l.report("a", StatusFailed))
	l.want("b pending k/", "c pending /k")
}

// Work that was given up, and is heard to have ended, is dismissed by who waits to do that.
func TestQueueDismissesWhatEndedLate(t *testing.T) {
	l := newLine(t)
	wants := l.queueing("b", "k")
	wants.dismissFailed = true
	l.commit(starting("a", "k"), wants, l.queueing("c", "k"))
	l.commit(judged("a", verdict{failure: "no word; not proven dead"}))
	l.want("a failed k/", "b pending /k", "c pending /k")
	l.commit(l.report("a", StatusCompleted))
	l.want("b pending k/", "c pending /k")
}

// Who waits to dismiss what failed does so for those that came before, too.
func TestQueueDismissesForThoseAhead(t *testing.T) {
	l := newLine(t)
	dismisses := l.queueing("c", "k")
	dismisses.dismissFailed = true
	l.commit(starting("a", "k"), l.queueing("b", "k"), dismisses, l.queueing("d", "k"))
	l.commit(l.report("a", StatusFailed))
	l.want("b pending k/", "c pending /k", "d pending /k")
	// A start that is refused dismisses nothing.
	l = newLine(t)
	late := starting("c", "k")
	late.dismissFailed = true
	l.commit(starting("a", "k"), l.queueing("b", "k"))
	l.commit(l.report("a", StatusFailed), late)
	l.want("a failed k/", "b pending /k")
	// One that waits for another key as well dismisses when it has its turn.
	l = newLine(t)
	dismisses = l.queueing("c", "k", "j")
	dismisses.dismissFailed = true
	l.commit(starting("a", "k"), starting("z", "j"), l.queueing("b", "k"), dismisses)
	l.commit(l.report("a", StatusFailed))
	l.want("a failed k/", "b pending /k", "c pending /k,j", "z running j/")
}

func TestRepeatedFailureAfterDismissal(t *testing.T) {
	l := newLine(t)
	l.commit(starting("a", "k"))
	fence := l.get("a").Fence
	l.commit(l.report("a", StatusFailed))
	c := dismissing("a")
	l.commit(c)
	r := c.record
	if err := applyReport(&r, report{fence: fence, status: StatusFailed}, now); !errors.Is(err, errUnchanged) {
		t.Errorf("the failure, repeated: %v", err)
	}
	if err := applyReport(&r, report{fence: fence}, now); !errors.Is(err, ErrUnknown) {
		t.Errorf("another report: %v", err)
	}
}
