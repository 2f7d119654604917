package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/scheme"
	"github.com/kettubot/kapi/internal/wire"
)

// A client that reads nothing delays nobody else, is cut, and can resume without a gap.
func TestSlowReader(t *testing.T) {
	b := newBench(t, Options{DrainWithin: 300 * time.Millisecond})
	slow, fast := b.dial(), b.dial()
	_, d := slow.identify(identifyAdmin)
	fast.identify(identifyAdmin)
	read := make(chan uint64)
	go func() { // the fast one reads on, until the end of the action
		for {
			if a := fast.update(); a.Status == kapi.StatusCompleted {
				read <- a.Seq
				return
			}
		}
	}()
	spec := kapi.Spec{Title: "t", Description: strings.Repeat("🦊", 2000)}
	err := b.peer.Do(t.Context(), spec, func(_ context.Context, h kapi.Handle) error {
		// Until the slow one was cut, as it took nothing of what the system's buffers don't
		// hold. From then on it has a few seconds to take these, and the close code.
		for i := 0; len(b.gateway.counters.endedBy()) == 0; i++ {
			if err := h.Impacted(fmt.Sprint("reason ", i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	last := kapitest.Receive(t, read, "the fast reader, which nothing may hold up")
	var seen uint64
	for {
		f, err := slow.read()
		if err != nil {
			if got := websocket.CloseStatus(err); got != statusOf(wire.CodeLimit) {
				t.Errorf("cut with %v", err)
			}
			break
		}
		if *f.S <= seen {
			t.Errorf("seq %d after %d", *f.S, seen)
		}
		seen = *f.S
	}
	if seen >= last {
		t.Fatalf("it took everything up to seq %d: the test sends too little", seen)
	}
	if ended := b.gateway.counters.endedBy(); ended["4008 too_slow"] != 1 || len(ended) != 1 {
		t.Errorf("connections ended: %v", ended)
	}
	again := b.dial()
	again.next(3, "")
	again.send(fmt.Sprintf(`{"op":5,"d":{"token":"a.d.min","session_id":%q,"seq":%d}}`, d.SessionID, seen))
	if a := again.update(); a.Seq != last || a.Status != kapi.StatusCompleted {
		t.Errorf("after the resume: %+v", a)
	}
	again.next(0, "RESUMED")
}

// A thousand clients that come and go at once don't disturb others.
func TestManyComeAndGo(t *testing.T) {
	b := newBench(t, Options{})
	c := b.dial()
	c.identify(identifyAdmin)
	done := make(chan error)
	for i := range 1000 {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), kapitest.Patience)
			defer cancel()
			conn, _, err := websocket.Dial(ctx, b.url+"?v=4", nil)
			if err == nil && i%2 == 0 {
				err = conn.Write(ctx, websocket.MessageText, []byte(identifyAdmin))
			}
			if err == nil {
				_ = conn.CloseNow()
			}
			done <- err
		}()
	}
	for range 1000 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	b.do(nil)
	for c.update().Status != kapi.StatusCompleted {
	}
	left := func() (sessions, grants int) {
		b.gateway.mu.Lock()
		defer b.gateway.mu.Unlock()
		return len(b.gateway.sessions), len(b.gateway.grants)
	}
	kapitest.Eventually(t, "one session is left, and its grant", func() bool {
		sessions, grants := left()
		return sessions == 1 && grants == 1
	}, func() string {
		return fmt.Sprint(left())
	})
}

// No frame panics or hangs the handler, and only known opcodes are answered.
func FuzzFrames(f *testing.F) {
	for _, seed := range []string{identifyAdmin, `{"op":1,"d":-1}`, `{"op":5,"d":{"token":"a.d.min","session_id":"e.64.x","seq":1}}`, `[]`, `{"op":4,"d":{"intents":1e99}}`, "\x00\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := wire.Parse(frame)
		if err != nil {
			return
		}
		if !json.Valid(frame) {
			t.Errorf("%q was taken for JSON", frame)
		}
		var i wire.Identify
		if wire.Unmarshal(m.Data, &i) == nil {
			if bits, ok := i.Bits(); ok && bits&^wire.KnownIntents != 0 {
				t.Errorf("intents %d", bits)
			}
			scheme.Cut(i.Token)
		}
		var r wire.Resume
		if wire.Unmarshal(m.Data, &r) == nil {
			r.Number()
		}
	})
}
