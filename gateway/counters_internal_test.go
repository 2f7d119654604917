package gateway

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/wire"
)

// endedBy returns how many connections ended for which reason, if any did.
func (c *Counters) endedBy() map[string]uint64 {
	all := map[string]uint64{}
	for _, e := range c.Endings() {
		if e.Count > 0 {
			all[fmt.Sprint(e.Code, " ", e.Reason)] = e.Count
		}
	}
	return all
}

func (b *bench) awaitCounters(what string, cond func(*Counters) bool) {
	b.t.Helper()
	c := b.gateway.counters
	kapitest.Eventually(b.t, what, func() bool { return cond(c) }, func() string {
		return fmt.Sprintf("%d open, %d sent, %d coalesced, ended %v", c.Connections(), c.FramesSent(), c.Coalesced(), c.endedBy())
	})
}

// Every change is either sent to a client or counted as coalesced, and every frame is counted.
func TestCoalesced(t *testing.T) {
	var counters Counters
	b := newBench(t, Options{Counters: &counters, Heartbeat: time.Hour}) // nobody sends one
	c := b.dial()
	since, _ := c.identify(identifyAdmin)
	nobody := b.dial() // is told nothing, so nothing can be coalesced for it
	nobody.identify(`{"op":4,"d":{"token":"no.bo.dy","intents":0}}`)
	spec := kapi.Spec{Title: "t", Description: strings.Repeat("d", 2000)}
	err := b.peer.Do(t.Context(), spec, func(_ context.Context, h kapi.Handle) error {
		for i := range 6000 { // more than the system's buffers hold
			if err := h.Impacted(fmt.Sprint("reason ", i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	received, last := uint64(0), kapi.Action{}
	for last.Status != kapi.StatusCompleted {
		last = c.update()
		received++
	}
	if received == last.Seq-since {
		t.Fatal("it was told of everything: the test sends too little")
	}
	if got := counters.Coalesced(); got != last.Seq-since-received {
		t.Errorf("of %d changes %d were received, and %d counted as coalesced", last.Seq-since, received, got)
	}
	c.send(`{"op":1}`)
	c.next(1, "")
	want := received + 5 // two hellos and READYs, and the heartbeat's answer
	b.awaitCounters("frames", func(c *Counters) bool { return c.FramesSent() == want })
}

// Each connection is counted while it is open, and ends once.
func TestEndings(t *testing.T) {
	b := newBench(t, Options{})
	b.dialWith("", nil).wantClose(wire.CodeVersion)
	for range 2 {
		c := b.dial()
		c.next(3, "")
		c.send(`{"op":4,"d":{"token":"x","intents":64}}`)
		c.wantClose(wire.CodeToken)
	}
	left, broken, stays := b.dial(), b.dial(), b.dial()
	left.identify(identifyAdmin)
	broken.identify(identifyAdmin)
	stays.identify(identifyAdmin)
	b.awaitCounters("three are open", func(c *Counters) bool { return c.Connections() == 3 })
	if err := left.conn.Close(websocket.StatusGoingAway, ""); err != nil {
		t.Error(err)
	}
	_ = broken.conn.CloseNow()
	b.awaitCounters("one is open", func(c *Counters) bool { return c.Connections() == 1 })
	var answering sync.WaitGroup
	answering.Go(func() { stays.wantClose(wire.CodeRestart) })
	if err := b.gateway.Close(kapitest.Within(t)); err != nil {
		t.Error(err)
	}
	answering.Wait()
	want := map[string]uint64{"4012 invalid_version": 1, "4004 bad_token": 2, "0 client_left": 2, "4010 restart": 1}
	if got := b.gateway.counters.endedBy(); !maps.Equal(got, want) || b.gateway.counters.Connections() != 0 {
		t.Errorf("ended: %v, want %v; %d are open", got, want, b.gateway.counters.Connections())
	}
}

// Every code has its own reason.
func TestEveryCodeIsCounted(t *testing.T) {
	words := map[string]bool{}
	for _, e := range new(Counters).Endings() {
		words[e.Reason] = true
	}
	codes := append(wire.Codes(), codeSlow, codeCrowded)
	if len(words) != len(codes)+1 {
		t.Errorf("%d words for %d codes", len(words), len(codes))
	}
	for _, code := range codes {
		var c Counters
		c.end(code)
		for _, e := range c.Endings() {
			if e.Count > 0 && e.Code != int(sentCode(code)) {
				t.Errorf("%d is counted as %d", code, e.Code)
			}
		}
		if len(c.endedBy()) != 1 {
			t.Errorf("%d is not counted", code)
		}
	}
}
