package server

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimitsAreDroppedWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits("test", true, 10, 20)
		for i := range 5000 {
			l.take(strconv.Itoa(i))
		}
		for range 20 {
			l.take("busy")
		}
		if len(l.of) != 5001 {
			t.Fatalf("%d buckets", len(l.of))
		}
		time.Sleep(time.Second) // all are full again but one
		if a := l.take("busy"); !a.ok || a.left != 9 {
			t.Errorf("the busy one has %v left", a.left)
		}
		if len(l.of) != 1 {
			t.Errorf("%d buckets, want the busy one", len(l.of))
		}
	})
}

func TestLimitsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits("test", true, 1, 5)
		for i := range maxBuckets {
			l.take(strconv.Itoa(i))
		}
		for i := range 5 { // these are strangers to each other, and share a bucket
			if a := l.take("new" + strconv.Itoa(i)); !a.ok {
				t.Errorf("newcomer %d was refused", i)
			}
		}
		if a := l.take("one more"); a.ok {
			t.Error("newcomers have no limit")
		}
		if a := l.take("7"); !a.ok {
			t.Error("who was here before pays for newcomers")
		}
		if len(l.of) > maxBuckets {
			t.Errorf("%d buckets", len(l.of))
		}
		time.Sleep(time.Minute)
		if a := l.take("late"); !a.ok || a.left != 4 || len(l.of) != 1 {
			t.Errorf("a minute later: %+v, %d buckets", a, len(l.of))
		}
	})
}

func TestNoLimits(t *testing.T) {
	for _, l := range []*limits{nil, newLimits("x", true, -1, 5), newLimits("x", true, 0, 5)} {
		if l != nil {
			t.Errorf("got %v", l)
		}
		if a := l.take("x"); !a.ok || a.refusal() != nil {
			t.Error("no limit refused")
		}
		if a := l.peek("x"); !a.ok {
			t.Error("no limit refused a look")
		}
	}
}

func TestProvenIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := proven{of: make(map[fingerprint]proof)}
		key := func(i int) fingerprint { return fingerprint(i + 1) }
		for i := range 3 * maxProven {
			p.add(key(i), "id")
			if id, ok := p.get(key(i)); !ok || id != "id" || len(p.of) > maxProven {
				t.Fatalf("%d: %q, %v, %d entries", i, id, ok, len(p.of))
			}
		}
		time.Sleep(provenFor)
		if _, ok := p.get(key(3*maxProven - 1)); ok {
			t.Error("it is remembered for ever")
		}
		for i := range maxProven {
			p.add(key(-i-1), "id")
		}
		if len(p.of) > maxProven {
			t.Errorf("%d entries", len(p.of))
		}
		p.add(0, "nobody")
		if _, ok := p.get(0); ok {
			t.Error("a request without credentials proves nothing for the next one")
		}
	})
}
