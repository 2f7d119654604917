package rules

import (
	"errors"
	"testing"

	"github.com/kettubot/kapi"
)

func TestQueueDismissesFailed(t *testing.T) {
	l := newLine(t)
	wants := l.queueing("b", "k")
	wants.DismissFailed = true
	l.commit(starting("a", "k"), wants, l.queueing("c", "k"))
	l.commit(l.report("a", kapi.StatusFailed))
	l.want("b pending k/", "c pending /k")
}

// An action that was not proven dead and then reports its end is dismissed for a waiter that may do that.
func TestQueueDismissesWhatEndedLate(t *testing.T) {
	l := newLine(t)
	wants := l.queueing("b", "k")
	wants.DismissFailed = true
	l.commit(starting("a", "k"), wants, l.queueing("c", "k"))
	l.commit(judged("a", Verdict{Failure: "no word; not proven dead"}))
	l.want("a failed k/", "b pending /k", "c pending /k")
	l.commit(l.report("a", kapi.StatusCompleted))
	l.want("b pending k/", "c pending /k")
}

// A waiter that may dismiss failed actions does so even if the keys go to earlier waiters.
func TestQueueDismissesForThoseAhead(t *testing.T) {
	l := newLine(t)
	dismisses := l.queueing("c", "k")
	dismisses.DismissFailed = true
	l.commit(starting("a", "k"), l.queueing("b", "k"), dismisses, l.queueing("d", "k"))
	l.commit(l.report("a", kapi.StatusFailed))
	l.want("b pending k/", "c pending /k", "d pending /k")
	// A start that is refused dismisses nothing.
	l = newLine(t)
	late := starting("c", "k")
	late.DismissFailed = true
	l.commit(starting("a", "k"), l.queueing("b", "k"))
	l.commit(l.report("a", kapi.StatusFailed), late)
	l.want("a failed k/", "b pending /k")
	// A start that waits for another key as well dismisses when it is its turn.
	l = newLine(t)
	dismisses = l.queueing("c", "k", "j")
	dismisses.DismissFailed = true
	l.commit(starting("a", "k"), starting("z", "j"), l.queueing("b", "k"), dismisses)
	l.commit(l.report("a", kapi.StatusFailed))
	l.want("a failed k/", "b pending /k", "c pending /k,j", "z running j/")
}

func TestRepeatedFailureAfterDismissal(t *testing.T) {
	l := newLine(t)
	l.commit(starting("a", "k"))
	fence := l.get("a").Fence
	l.commit(l.report("a", kapi.StatusFailed))
	c := dismissing("a")
	l.commit(c)
	r := c.Record
	if err := applyReport(&r, Report{Fence: fence, Status: kapi.StatusFailed}, now); !errors.Is(err, errUnchanged) {
		t.Errorf("the failure, repeated: %v", err)
	}
	if err := applyReport(&r, Report{Fence: fence}, now); !errors.Is(err, kapi.ErrUnknown) {
		t.Errorf("another report: %v", err)
	}
}
