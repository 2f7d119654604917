package gateway

import (
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/wire"
)

func TestLimits(t *testing.T) {
	for _, c := range []struct{ o, want Options }{
		{Options{}, Options{Heartbeat: 30 * time.Second, IdentifyWithin: 15 * time.Second, DrainWithin: 30 * time.Second}},
		{Options{Heartbeat: 1, IdentifyWithin: 2, DrainWithin: 3}, Options{Heartbeat: 1, IdentifyWithin: 2, DrainWithin: 3}},
		{Options{Heartbeat: -1, IdentifyWithin: -1, DrainWithin: -1}, Options{Heartbeat: 30 * time.Second, IdentifyWithin: never, DrainWithin: never}},
	} {
		overdue, want := c.o.limits(), c.want.Heartbeat*3/2
		if c.want.IdentifyWithin == never {
			want = never
		}
		if c.o.Heartbeat != c.want.Heartbeat || c.o.IdentifyWithin != c.want.IdentifyWithin || c.o.DrainWithin != c.want.DrainWithin || overdue != want {
			t.Errorf("got %+v, overdue after %v; want %+v", c.o, overdue, c.want)
		}
	}
}

// A gateway without limits still asks for heartbeats, and closes cleanly.
func TestNoLimits(t *testing.T) {
	b := newBench(t, Options{Heartbeat: -1, IdentifyWithin: -1, DrainWithin: -1})
	c := b.dial()
	c.identify(identifyAdmin)
	c.send(`{"op":1}`)
	c.next(1, "")
	closed := make(chan error, 1)
	go func() { closed <- b.gateway.Close(t.Context()) }()
	c.wantClose(wire.CodeRestart)
	if err := kapitest.Receive(t, closed, "the end of Close"); err != nil {
		t.Error(err)
	}
}
