package fault

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestTry(t *testing.T) {
	var panics []*Panic
	n := NewNet(func(p *Panic) { panics = append(panics, p) })
	if p := n.Try(func() {}); p != nil || len(panics) != 0 {
		t.Errorf("no panic is caught as %v, passed on as %v", p, panics)
	}
	p := n.Try(func() { panic("boo") })
	if p == nil || p.Value != "boo" || p.Error() != "panic: boo" || !strings.Contains(string(p.Stack), "TestTry") {
		t.Fatalf("caught %+v", p)
	}
	if len(panics) != 1 || panics[0] != p {
		t.Errorf("passed on %v, want what was caught", panics)
	}
	if p := n.Try(func() { panic(nil) }); p == nil { //nolint:govet // that is what is tried
		t.Error("a panic with nil is not caught")
	}
}

// The item that a loop panics on is lost; the next one is not.
func TestLoopGoesOnAfterAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		panics := 0
		n := NewNet(func(*Panic) { panics++ })
		in, out := make(chan int), make(chan int, 10)
		var group sync.WaitGroup
		n.Go(&group, func() {
			for i := range in {
				if i%2 == 1 {
					panic(i)
				}
				out <- i
			}
		})
		for i := range 6 {
			in <- i
		}
		close(in)
		group.Wait()
		close(out)
		var got []int
		for i := range out {
			got = append(got, i)
		}
		if len(got) != 3 || panics != 3 {
			t.Errorf("got %v and %d panics, want 0, 2, 4 and 3", got, panics)
		}
	})
}

// A loop that always panics must not use up the processor.
func TestLoopThatPanicsAlways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, calls, over := NewNet(func(*Panic) {}), 0, time.Now().Add(time.Minute)
		n.Keep(func() {
			calls++
			if time.Now().Before(over) {
				panic("again")
			}
		})
		if calls > 70 {
			t.Errorf("called %d times in a minute", calls)
		}
	})
}

func TestNilNetCatchesNothing(t *testing.T) {
	defer func() {
		if recover() != "boo" {
			t.Error("the panic was caught")
		}
	}()
	From(context.Background()).Try(func() { panic("boo") })
}

func TestContext(t *testing.T) {
	n := NewNet(func(*Panic) {})
	if From(With(context.Background(), n)) != n {
		t.Error("the net is not the context's")
	}
}
