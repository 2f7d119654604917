package server

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestDeadline(t *testing.T) {
	parent, cancel := context.WithCancel(context.Background())
	defer cancel()
	for name, c := range map[string]struct {
		after  time.Duration
		do     func(*deadline)
		waited bool
		want   error
	}{
		"goes on":                  {time.Hour, func(*deadline) {}, false, nil},
		"goes on, waited for":      {time.Hour, func(*deadline) {}, true, nil},
		"is over":                  {0, func(*deadline) {}, false, context.DeadlineExceeded},
		"is over, waited for":      {time.Millisecond, func(d *deadline) { <-d.Done() }, true, context.DeadlineExceeded},
		"has ended":                {time.Hour, (*deadline).end, false, context.Canceled},
		"has ended, waited for":    {time.Hour, (*deadline).end, true, context.Canceled},
		"has ended after its time": {0, (*deadline).end, false, context.DeadlineExceeded},
	} {
		d := &deadline{Context: parent, at: time.Now().Add(c.after)}
		if c.waited {
			child, cancel := context.WithCancel(d)
			defer cancel()
			if child.Err() != nil {
				t.Errorf("%s: too early: %v", name, child.Err())
			}
		}
		c.do(d)
		if got := d.Err(); !errors.Is(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		select {
		case <-d.Done():
			if c.want == nil {
				t.Errorf("%s: it is done", name)
			}
		default:
			if c.want != nil {
				t.Errorf("%s: it is not done", name)
			}
		}
		d.end()
	}
	d := &deadline{Context: parent, at: time.Now().Add(time.Hour)}
	cancel()
	if !errors.Is(d.Err(), context.Canceled) {
		t.Errorf("its parent has ended, and it says %v", d.Err())
	}
	if at, ok := d.Deadline(); !ok || at != d.at {
		t.Errorf("its time is %v, %v", at, ok)
	}
}
