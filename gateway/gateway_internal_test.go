package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/wire"
)

func TestUpdates(t *testing.T) {
	b := newBench(t, Options{Heartbeat: 41 * time.Second})
	c := b.dial()
	hello := c.next(3, "")
	if string(hello.D) != `{"heartbeat_interval":41000}` {
		t.Errorf("hello says %s", hello.D)
	}
	c.send(`{"op":1,"d":-1}`) // before READY, too
	if f := c.next(1, ""); !f.A {
		t.Error("a heartbeat is answered without a")
	}
	c.send(identifyAdmin)
	c.next(0, "READY")
	b.do(nil)
	b.do(errors.New("boom"))
	var last uint64
	for _, want := range []kapi.Status{5, 3} {
		a := c.update()
		for a.Status != want { // the slower ones are passed over
			if a.Seq <= last {
				t.Errorf("seq %d after %d", a.Seq, last)
			}
			last = a.Seq
			a = c.update()
		}
	}
	c.send(`{"op":1,"d":` + fmt.Sprint(last) + `,"unknown":true}`)
	c.next(1, "")
}

// Only admins get changes, and nobody else learns how many there were.
func TestNotAdmin(t *testing.T) {
	b := newBench(t, Options{})
	b.do(errors.New("boom"))
	c := b.dial()
	seq, d := c.identify(`{"op":4,"d":{"token":"no.bo.dy","intents":63}}`)
	if seq != 0 {
		t.Errorf("READY from seq %d", seq)
	}
	b.do(errors.New("boom"))
	c.send(`{"op":1}`)
	c.next(1, "") // and no update before
	c = b.dial()
	c.next(3, "")
	c.send(fmt.Sprintf(`{"op":5,"d":{"token":"no.bo.dy","session_id":%q,"seq":77}}`, d.SessionID))
	if f := c.next(0, "RESUMED"); *f.S != 0 {
		t.Errorf("RESUMED at seq %d", *f.S)
	}
	c.send(`{"op":1}`)
	c.next(1, "")
}

// READY says who identified, as kAPI's documents have a user, and no more.
func TestReady(t *testing.T) {
	b := newBench(t, Options{})
	b.tokens["Bearer na.me.less"] = auth.Identity{ID: "4"} // an embedder's own
	type m = map[string]any
	ada, bot := m{"id": "1", "type": "user", "perms": 8.0, "name": "ada"}, m{"id": "2", "type": "bot", "perms": 4.0, "name": "bot"}
	for token, want := range map[string]m{
		"a.d.min": ada, "Bearer a.d.min": ada, "bearer a.d.min": ada, "b.o.t": bot, "Bot b.o.t": bot,
		"na.me.less": {"id": "4", "type": "user", "perms": 0.0},
	} {
		intents := 127
		if want["perms"] == 0.0 {
			intents = 63
		}
		_, d := b.dial().identify(fmt.Sprintf(`{"op":4,"d":{"token":%q,"intents":%d,"properties":{"os":"x"}}}`, token, intents))
		if !reflect.DeepEqual(d.User, want) {
			t.Errorf("%s: user %v, want %v", token, d.User, want)
		}
	}
}

// Connections with one token have sessions of their own, and each is resumed as itself, again and again.
func TestSessionsOfOneToken(t *testing.T) {
	b := newBench(t, Options{})
	seen := map[string]uint64{}
	for range 3 {
		c := b.dial()
		seq, d := c.identify(identifyAdmin)
		if _, taken := seen[d.SessionID]; taken {
			t.Errorf("two have the session %s", d.SessionID)
		}
		seen[d.SessionID] = seq
		b.do(nil) // so that each has another seq
		_ = c.conn.CloseNow()
	}
	for range 2 {
		for id, seq := range seen {
			c := b.dial()
			c.next(3, "")
			c.send(fmt.Sprintf(`{"op":5,"d":{"token":"a.d.min","session_id":%q,"seq":%d}}`, id, seq))
			missed, at := 0, seq
			for {
				f, err := c.read()
				if err != nil {
					t.Fatalf("resumed from %d: %v", seq, err)
				}
				if f.T == "RESUMED" {
					break
				}
				if missed++; *f.S <= at {
					t.Errorf("resumed from %d it is told of %d after %d", seq, *f.S, at)
				}
				at = *f.S
			}
			if missed == 0 {
				t.Errorf("resumed from %d it is told nothing", seq)
			}
			_ = c.conn.CloseNow()
		}
	}
}

// What a client does wrong, and what it is told.
func TestCloseCodes(t *testing.T) {
	b := newBench(t, Options{})
	_, admins := b.dial().identify(identifyAdmin)
	resume := func(token, session string, seq any) string {
		text, _ := json.Marshal(map[string]any{"op": 5, "d": map[string]any{"token": token, "session_id": session, "seq": seq}})
		return string(text)
	}
	for name, tt := range map[string]struct {
		say  []string
		want wire.Code
	}{
		"not JSON":               {[]string{"hello"}, wire.CodeDecode},
		"nothing":                {[]string{""}, wire.CodeDecode},
		"not UTF-8":              {[]string{"{\"op\":1,\"d\":\"\xe9\"}"}, wire.CodeDecode},
		"an array":               {[]string{"[]"}, wire.CodeDecode},
		"no op":                  {[]string{"{}"}, wire.CodeDecode},
		"op is null":             {[]string{`{"op":null}`}, wire.CodeDecode},
		"op is a string":         {[]string{`{"op":"four"}`}, wire.CodeDecode},
		"op in quotes":           {[]string{strings.Replace(identifyAdmin, `4`, `"4"`, 1)}, wire.CodeDecode},
		"heartbeat in quotes":    {[]string{identifyAdmin, `{"op":"1","d":0}`}, wire.CodeDecode},
		"intents in quotes":      {[]string{strings.Replace(identifyAdmin, `64`, `"64"`, 1)}, wire.CodeDecode},
		"a seq in quotes":        {[]string{resume("a.d.min", admins.SessionID, "0")}, wire.CodeDecode},
		"unknown op":             {[]string{`{"op":99}`}, wire.CodeOpcode},
		"huge op":                {[]string{`{"op":1e999}`}, wire.CodeOpcode},
		"fractional op":          {[]string{`{"op":1.5}`}, wire.CodeOpcode},
		"dispatch, early":        {[]string{`{"op":0}`}, wire.CodeNotIdentified},
		"hello, early":           {[]string{`{"op":3}`}, wire.CodeNotIdentified},
		"dispatch, late":         {[]string{identifyAdmin, `{"op":0}`}, wire.CodeOpcode},
		"identify without d":     {[]string{`{"op":4}`}, wire.CodeDecode},
		"identify with a list":   {[]string{`{"op":4,"d":[]}`}, wire.CodeDecode},
		"token is a number":      {[]string{`{"op":4,"d":{"token":5,"intents":64}}`}, wire.CodeDecode},
		"no token":               {[]string{`{"op":4,"d":{"intents":64}}`}, wire.CodeToken},
		"bad token":              {[]string{`{"op":4,"d":{"token":"x","intents":64}}`}, wire.CodeToken},
		"no intents":             {[]string{`{"op":4,"d":{"token":"a.d.min"}}`}, wire.CodeIntents},
		"unknown intents":        {[]string{`{"op":4,"d":{"token":"a.d.min","intents":128}}`}, wire.CodeIntents},
		"negative intents":       {[]string{`{"op":4,"d":{"token":"a.d.min","intents":-1}}`}, wire.CodeIntents},
		"huge intents":           {[]string{`{"op":4,"d":{"token":"a.d.min","intents":1e400}}`}, wire.CodeIntents},
		"intents not allowed":    {[]string{`{"op":4,"d":{"token":"no.bo.dy","intents":64}}`}, wire.CodeForbidden},
		"identify twice":         {[]string{identifyAdmin, identifyAdmin}, wire.CodeIdentified},
		"identify, then resume":  {[]string{identifyAdmin, resume("a.d.min", admins.SessionID, 0)}, wire.CodeIdentified},
		"resume a seq to come":   {[]string{resume("a.d.min", admins.SessionID, 99)}, wire.CodeSeq},
		"resume a negative seq":  {[]string{resume("a.d.min", admins.SessionID, -1)}, wire.CodeSeq},
		"resume a huge seq":      {[]string{`{"op":5,"d":{"token":"a.d.min","session_id":"` + admins.SessionID + `","seq":1e300}}`}, wire.CodeSeq},
		"resume without a seq":   {[]string{resume("a.d.min", admins.SessionID, nil)}, wire.CodeSeq},
		"resume another's":       {[]string{resume("b.o.t", admins.SessionID, 0)}, wire.CodeTimeout},
		"resume with bad token":  {[]string{resume("x", admins.SessionID, 0)}, wire.CodeToken},
		"resume garbage":         {[]string{resume("a.d.min", "x", 0)}, wire.CodeTimeout},
		"resume a forged nonce":  {[]string{resume("a.d.min", strings.Replace(admins.SessionID, ".64.", ".64.A", 1), 0)}, wire.CodeTimeout},
		"resume a cut session":   {[]string{resume("a.d.min", admins.SessionID[:len(admins.SessionID)-9], 0)}, wire.CodeTimeout},
		"resume no session":      {[]string{resume("a.d.min", "", 0)}, wire.CodeTimeout},
		"resume forged intents":  {[]string{resume("a.d.min", strings.Replace(admins.SessionID, ".64.", ".65.", 1), 0)}, wire.CodeTimeout},
		"resume another history": {[]string{resume("a.d.min", "x"+admins.SessionID, 0)}, wire.CodeTimeout},
		"too long":               {[]string{`{"op":1,"d":"` + strings.Repeat("x", maxFrame) + `"}`}, wire.CodeLimit},
	} {
		t.Run(name, func(t *testing.T) {
			c := b.dial()
			c.t = t
			for _, text := range tt.say {
				c.send(text)
			}
			c.wantClose(tt.want)
		})
	}
}

func TestVersion(t *testing.T) {
	b := newBench(t, Options{})
	for _, query := range []string{"", "?v=3", "?v=", "?encoding=json"} {
		b.dialWith(query, nil).wantClose(wire.CodeVersion)
	}
}

func TestBinary(t *testing.T) {
	c := newBench(t, Options{}).dial()
	if err := c.conn.Write(t.Context(), websocket.MessageBinary, []byte(identifyAdmin)); err != nil {
		t.Fatal(err)
	}
	c.wantClose(wire.CodeDecode)
}

func TestTooManyMessages(t *testing.T) {
	c := newBench(t, Options{}).dial()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range 10 * perMinute { // on a slow machine there is more time, and so more may be sent
			if c.conn.Write(t.Context(), websocket.MessageText, []byte(`{"op":1}`)) != nil {
				return
			}
		}
	}()
	c.wantClose(wire.CodeLimit)
	kapitest.Receive(t, sent, "the last message")
}

func TestOverdue(t *testing.T) {
	b := newBench(t, Options{IdentifyWithin: 50 * time.Millisecond, Heartbeat: 60 * time.Millisecond})
	b.dial().wantClose(wire.CodeTimeout)
	c := b.dial()
	c.identify(identifyAdmin)
	c.wantClose(wire.CodeTimeout)
	c = b.dial()
	c.identify(identifyAdmin)
	for range 10 {
		time.Sleep(30 * time.Millisecond)
		c.send(`{"op":1}`)
		c.next(1, "")
	}
}

func TestResume(t *testing.T) {
	b := newBench(t, Options{})
	c := b.dial()
	seq, d := c.identify(identifyAdmin)
	_ = c.conn.CloseNow()
	b.do(nil)
	b.do(errors.New("boom"))
	c = b.dial()
	c.next(3, "")
	c.send(fmt.Sprintf(`{"op":5,"d":{"token":"a.d.min","session_id":%q,"seq":%d}}`, d.SessionID, seq))
	if a := c.update(); a.Status != kapi.StatusCompleted {
		t.Errorf("missed %+v", a)
	}
	failed := c.update()
	if failed.Status != kapi.StatusFailed {
		t.Errorf("missed %+v", failed)
	}
	if f := c.next(0, "RESUMED"); *f.S != failed.Seq {
		t.Errorf("RESUMED at %d, want %d", *f.S, failed.Seq)
	}
	if _, err := b.peer.Dismiss(t.Context(), failed.ID, "ada"); err != nil {
		t.Fatal(err)
	}
	if a := c.update(); a.Status != kapi.StatusAborted {
		t.Errorf("after RESUMED: %+v", a)
	}
}

// On Close every client gets the close code, and new connections are refused.
func TestRestart(t *testing.T) {
	b := newBench(t, Options{})
	one, two, mute := b.dial(), b.dial(), b.dial()
	one.identify(identifyAdmin)
	two.identify(`{"op":4,"d":{"token":"no.bo.dy","intents":0}}`)
	go b.gateway.Close(t.Context())
	one.wantClose(wire.CodeRestart)
	two.wantClose(wire.CodeRestart)
	mute.wantClose(wire.CodeRestart)
	b.dial().wantClose(wire.CodeRestart)
}

// A client that never answers the end of its connection must not hold up a restart.
func TestRestartWithRudeClient(t *testing.T) {
	b := newBench(t, Options{})
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(b.url, "ws://"), "/gateway"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /gateway?v=4 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(line, "101") {
		t.Fatalf("got %q, %v", line, err)
	}
	within, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if err := b.gateway.Close(within); err != nil {
		t.Errorf("it is still there: %v", err)
	}
}

// A peer that is closed, without the gateway, is a restart too.
func TestPeerClosed(t *testing.T) {
	b := newBench(t, Options{})
	c := b.dial()
	c.identify(identifyAdmin)
	if err := b.peer.Close(); err != nil {
		t.Fatal(err)
	}
	c.wantClose(wire.CodeRestart)
}

func TestRevoked(t *testing.T) {
	b := newBench(t, Options{})
	one, two := b.dial(), b.dial()
	one.identify(identifyAdmin)
	two.identify(`{"op":4,"d":{"token":"b.o.t","intents":64}}`)
	b.revoke("Bearer a.d.min")
	began := time.Now()
	one.wantClose(wire.CodeToken)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	two.send(`{"op":1}`)
	two.next(1, "")
}

// The cookie is for pages of the same origin.
func TestCookie(t *testing.T) {
	b := newBench(t, Options{})
	host := strings.TrimPrefix(strings.TrimSuffix(b.url, "/gateway"), "ws://")
	with := func(origin string) http.Header {
		h := http.Header{"Cookie": {"sess=a.d.min"}}
		if origin != "" {
			h.Set("Origin", origin)
		}
		return h
	}
	b.dialWith("?v=4", with("http://"+host)).identify(`{"op":4,"d":{"intents":64}}`)
	c := b.dialWith("?v=4", with(""))
	c.next(3, "")
	c.send(`{"op":4,"d":{"intents":64}}`)
	c.wantClose(wire.CodeToken)
}

// A message may come in pieces. (TestEveryFrameCounts has what they cost.)
func TestFragments(t *testing.T) {
	b := newBench(t, Options{})
	write := func(c *client, pieces ...string) {
		t.Helper()
		w, err := c.conn.Writer(t.Context(), websocket.MessageText)
		if err != nil {
			t.Fatal(err)
		}
		for _, piece := range pieces {
			if _, err := w.Write([]byte(piece)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	good, long := b.dial(), b.dial()
	good.next(3, "")
	write(good, identifyAdmin[:10], "", identifyAdmin[10:])
	good.next(0, "READY")
	long.next(3, "")
	write(long, strings.Repeat(" ", 40<<10), strings.Repeat(" ", 40<<10))
	long.wantClose(wire.CodeLimit)
}
