package backoff

import (
	"slices"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	b := New(3*time.Second, 20*time.Second)
	next := func(n int) (all []int) {
		for range n {
			all = append(all, int(b.Next()/time.Second))
		}
		return all
	}
	if got := next(5); !slices.Equal(got, []int{3, 6, 12, 20, 20}) {
		t.Errorf("it waits %v", got)
	}
	b.Reset()
	if got := next(2); !slices.Equal(got, []int{3, 6}) {
		t.Errorf("after a success it waits %v", got)
	}
}
