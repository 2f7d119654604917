package server_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/server"
)

// An opRow is what a client sends, and the last message that strangers, clients without ADMIN and admins get
// back: a type, an op without one, or a close code.
type opRow struct {
	name                       string
	says                       []string
	strangers, limited, admins string
}

// ops has every op of the gateway. {own 64} and {own 0} are sessions that the client itself had with these
// intents; {another's 64} and {another's 0} are of another admin. A client that may not have intents 64 has
// changed its session with intents 0 to one with 64. Strangers use another's sessions as their own.
func ops() []opRow {
	identify := func(more string) string { return `{"op":4,"d":{"token":"{token}"` + more + `}}` }
	resume := func(id string) string {
		return `{"op":5,"d":{"token":"{token}","session_id":"{` + id + `}","seq":{seq}}}`
	}
	const heartbeat, dispatch, hello = `{"op":1,"d":0}`, `{"op":0,"d":{}}`, `{"op":3,"d":{}}`
	all := identify(`,"intents":64`)
	none := identify(`,"intents":0`)
	return []opRow{
		{"identify with intents 64", []string{all}, "4004", "4014", "READY"},
		{"identify with all intents", []string{identify(`,"intents":127`)}, "4004", "4014", "READY"},
		{"identify with intents 0", []string{none}, "4004", "READY", "READY"},
		{"identify with others' intents", []string{identify(`,"intents":63`)}, "4004", "READY", "READY"},
		{"identify with unknown intents", []string{identify(`,"intents":128`)}, "4004", "4013", "4013"},
		{"identify without intents", []string{identify("")}, "4004", "4013", "4013"},
		{"resume with intents 64", []string{resume("own 64")}, "4004", "4009", "RESUMED"},
		{"resume with intents 0", []string{resume("own 0")}, "4004", "RESUMED", "RESUMED"},
		{"resume another's, with intents 64", []string{resume("another's 64")}, "4004", "4009", "4009"},
		{"resume another's, with intents 0", []string{resume("another's 0")}, "4004", "4009", "4009"},
		{"resume none", []string{`{"op":5,"d":{"token":"{token}","session_id":"a.64.c","seq":0}}`}, "4004", "4009", "4009"},
		{"heartbeat before identify", []string{heartbeat}, "op 1", "op 1", "op 1"},
		{"heartbeats before identify", []string{heartbeat, heartbeat}, "op 1", "op 1", "op 1"},
		{"dispatch before identify", []string{dispatch}, "4003", "4003", "4003"},
		{"hello before identify", []string{hello}, "4003", "4003", "4003"},
		{"unknown op before identify", []string{`{"op":2}`}, "4001", "4001", "4001"},
		{"no object", []string{`[]`}, "4002", "4002", "4002"},
		{"identify after a heartbeat", []string{heartbeat, all}, "4004", "4014", "READY"},
		{"heartbeat", []string{none, heartbeat}, "4004", "op 1", "op 1"},
		{"identify again", []string{none, all}, "4004", "4005", "4005"},
		{"resume again", []string{none, resume("another's 64")}, "4004", "4005", "4005"},
		{"dispatch", []string{none, dispatch}, "4004", "4001", "4001"},
		{"hello", []string{none, hello}, "4004", "4001", "4001"},
		{"unknown op", []string{none, `{"op":2}`}, "4004", "4001", "4001"},
	}
}

// A mounted is a server that listens.
type mounted struct {
	*door
	tokens map[string]string
	url    string
	others [2]string // another's sessions, with intents 64 and 0
	seq    string    // when the first of them began
}

// mount has a server listen. Since another's sessions began, an action did.
func mount(t *testing.T) *mounted {
	t.Helper()
	d := newDoor(t, server.Options{RateLimit: -1, RateLimitAddress: -1})
	web := httptest.NewServer(d)
	t.Cleanup(func() {
		if err := d.Handler.(*documented).Close(kapitest.Within(t)); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	m := &mounted{door: d, tokens: d.secrets(), url: web.URL}
	another, _ := d.tokens.add(t, auth.TypeUser)
	m.others[0], m.seq = dial(t, m.url+"/gateway", nil).session(another, 64)
	m.others[1], _ = dial(t, m.url+"/gateway", nil).session(another, 0)
	m.begin()
	return m
}

func (m *mounted) begin() {
	m.t.Helper()
	w := m.send("POST", "/v4/kapi/actions", `{"title":"secret"}`, "Authorization: Bearer "+m.tokens["owner"], jsonBody)
	expectStatus(m.t, w, 201)
}

// fill returns a replacer that puts a caller's credentials into a message.
func (m *mounted) fill(t *testing.T, c caller) *strings.Replacer {
	t.Helper()
	own := m.others
	if c.want(opRow{strangers: "no"}) != "no" {
		own[1], _ = dial(t, m.url+"/gateway", c.headers).session(c.token, 0)
		own[0] = strings.Replace(own[1], ".0.", ".64.", 1)
	}
	if c.as == "admin" {
		own[0], _ = dial(t, m.url+"/gateway", c.headers).session(c.token, 64)
	}
	return strings.NewReplacer("{token}", c.token, "{own 64}", own[0], "{own 0}", own[1],
		"{another's 64}", m.others[0], "{another's 0}", m.others[1], "{seq}", m.seq)
}

// TestGatewayIsForAdmins sends every op with every kind of credential. Only admins get actions.
func TestGatewayIsForAdmins(t *testing.T) {
	m := mount(t)
	for _, c := range m.callers(m.tokens, m.url) {
		t.Run(c.name, func(t *testing.T) {
			fill := m.fill(t, c)
			for _, r := range ops() {
				for _, path := range []string{"/gateway", "/v4/gateway"} {
					k, got := dial(t, m.url+path, c.headers), ""
					for _, message := range r.says {
						if got = k.say(fill.Replace(message)); got[0] == '4' {
							break
						}
					}
					for got == "KAPI_ACTION_UPDATE" && c.as == "admin" { // what it missed comes before RESUMED
						got = k.hear()
					}
					if got != c.want(r) {
						t.Errorf("%s: it hears %s, want %s", r.name, got, c.want(r))
					}
					if c.as != "admin" && strings.Contains(k.said, "secret") {
						t.Errorf("%s: it hears of another's action: %s", r.name, k.said)
					}
					_ = k.conn.CloseNow()
				}
			}
		})
	}
}

// TestGatewayIsForItsOrigin: a page of another gets no connection, whoever its reader is.
func TestGatewayIsForItsOrigin(t *testing.T) {
	m := mount(t)
	for _, c := range m.callers(m.tokens, m.url) {
		headers := slices.DeleteFunc(slices.Clone(c.headers), func(h string) bool { return strings.HasPrefix(h, "Origin: ") })
		for _, path := range []string{"/gateway", "/v4/gateway"} {
			for _, from := range []string{evilOrigin, "Origin: null"} {
				conn, resp, err := websocket.Dial(kapitest.Within(t), m.url+path+"?v=4", &websocket.DialOptions{HTTPHeader: headersOf(append(headers, from))})
				if err == nil || resp == nil || resp.StatusCode != 403 {
					t.Errorf("%s: it gets a connection (%v)", c.name, err)
				}
				if conn != nil {
					_ = conn.CloseNow()
				}
			}
		}
	}
}

// TestGatewayIsQuiet: without the intent, or before it identifies, a connection gets no change, nor the number
// of changes.
func TestGatewayIsQuiet(t *testing.T) {
	m := mount(t)
	witness := dial(t, m.url+"/gateway", nil)
	witness.session(m.tokens["admin"], 64)
	quiet := map[string]*talk{}
	for _, c := range m.callers(m.tokens, m.url) {
		k := dial(t, m.url+"/gateway", c.headers)
		if c.want(opRow{strangers: "no"}) != "no" {
			if _, seq := k.session(c.token, 0); seq != "0" {
				t.Errorf("%s: it is told of %s changes", c.name, seq)
			}
		}
		quiet[c.name] = k
	}
	for range 2 {
		m.begin()
		if got := witness.hear(); got != "KAPI_ACTION_UPDATE" {
			t.Fatalf("an admin hears %s", got)
		}
	}
	for name, k := range quiet {
		if got := k.say(`{"op":1,"d":0}`); got != "op 1" || strings.Contains(k.said, "secret") {
			t.Errorf("%s: it hears %s", name, k.said)
		}
	}
}
