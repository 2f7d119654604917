package server_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/kapitest"
)

// A caller is one of the ways in which a client of the gateway says who it is.
type caller struct {
	name, token string
	headers     []string // of the handshake
	as          string   // as a kind has it
}

// callers are all of them, for a server at this address.
func (d *door) callers(secrets map[string]string, url string) []caller {
	d.t.Helper()
	page := "Origin: " + url
	in := func() signedIn { return d.signIn(secrets["admin"]) }
	s, other, ended := in(), in(), in()
	if w := d.send("DELETE", "/page/session", "", ended.headers()...); w.Code != 204 {
		d.t.Fatal(w.Code, w.Body)
	}
	runner := d.sessionOf(auth.RunActions, s.name)
	sess := "Cookie: sess=" + secrets["admin"]
	all := []caller{
		{"nothing", "", nil, "none"},
		{"nothing, from the page", "", []string{page}, "none"},
		{"the handshake's token", "", []string{"Authorization: Bearer " + secrets["admin"]}, "none"},
		{"the handshake's token, from the page", "", []string{page, "Authorization: Bearer " + secrets["admin"]}, "none"},
		{"sess", "", []string{sess}, "none"},
		{"sess, from the page", "", []string{page, sess}, "none"},
		{"the cookie alone", "", []string{s.cookieHeader()}, "none"},
		{"the cookie alone, from the page", "", []string{page, s.cookieHeader()}, "none"},
		{"the half alone", s.half, nil, "none"},
		{"the half alone, from the page", s.half, []string{page}, "none"},
		{"the half, and sess", s.half, []string{page, sess}, "none"},
		{"the cookie as a token", s.cookie, nil, "invalid"},
		{"the cookie twice", s.cookie, []string{page, s.cookieHeader()}, "invalid"},
		{"halves of two sessions", other.half, []string{page, s.cookieHeader()}, "invalid"},
		{"the cookie and a forged half", s.forged(other).half, []string{page, s.cookieHeader()}, "invalid"},
		{"a forged cookie and the half", s.half, []string{page, s.forged(other).cookieHeader()}, "invalid"},
		{"halves of an ended session", ended.half, []string{page, ended.cookieHeader()}, "invalid"},
		{"an unknown token", secrets["wrong"], nil, "invalid"},
		{"an unknown token, and sess", secrets["wrong"], []string{sess}, "invalid"},
		{"no token", "x", nil, "invalid"},
		{"expired", secrets["expired"], nil, "expired"},
		{"both halves", s.half, []string{page, s.cookieHeader()}, "admin"},
		{"both halves of a runner", runner.half, []string{page, runner.cookieHeader()}, "run"},
		{"owner", secrets["owner"], nil, "admin"},
		{"kettu", secrets["kettu"], nil, "admin"},
		{"admin, from the page", secrets["admin"], []string{page}, "admin"},
		{"admin, with its scheme", "Bearer " + secrets["admin"], nil, "admin"},
		{"a bot, with its scheme", "Bot " + secrets["bot admin"], nil, "admin"},
	}
	for _, as := range []string{"plain", "metrics", "run", "admin"} {
		all = append(all, caller{as, secrets[as], nil, as}, caller{"a bot, " + as, secrets["bot "+as], nil, as})
	}
	return all
}

func (c caller) want(r opRow) string {
	switch c.as {
	case "none", "invalid", "expired":
		return r.strangers
	case "admin":
		return r.admins
	}
	return r.limited
}

// A talk is one connection to the gateway.
type talk struct {
	t    *testing.T
	conn *websocket.Conn
	said string // by the gateway, all of it
}

// dial opens a connection, and is greeted.
func dial(t *testing.T, url string, headers []string) *talk {
	t.Helper()
	conn, _, err := websocket.Dial(kapitest.Within(t), url+"?v=4", &websocket.DialOptions{HTTPHeader: headersOf(headers)})
	if err != nil {
		t.Fatal(err)
	}
	k := &talk{t: t, conn: conn}
	t.Cleanup(func() { _ = conn.CloseNow() })
	if got := k.hear(); got != "op 3" {
		t.Fatalf("it is greeted with %s", got)
	}
	return k
}

func headersOf(lines []string) http.Header {
	header := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		header.Add(name, value)
	}
	return header
}

// hear returns what the gateway says next.
func (k *talk) hear() string {
	k.t.Helper()
	_, data, err := k.conn.Read(kapitest.Within(k.t))
	if code := websocket.CloseStatus(err); code != -1 {
		return strconv.Itoa(int(code))
	}
	var frame struct {
		Op int
		T  string
	}
	if err == nil {
		err = json.Unmarshal(data, &frame)
	}
	if err != nil {
		k.t.Fatal(err)
	}
	k.said += string(data) + "\n"
	if frame.T != "" {
		return frame.T
	}
	return "op " + strconv.Itoa(frame.Op)
}

// say says this and returns what it hears then.
func (k *talk) say(message string) string {
	k.t.Helper()
	if err := k.conn.Write(kapitest.Within(k.t), websocket.MessageText, []byte(message)); err != nil {
		k.t.Fatal(err)
	}
	return k.hear()
}

// session is one that a client has had, and the seq at its beginning.
func (k *talk) session(token string, intents int) (id, seq string) {
	k.t.Helper()
	if got := k.say(`{"op":4,"d":{"token":"` + token + `","intents":` + strconv.Itoa(intents) + `}}`); got != "READY" {
		k.t.Fatalf("it hears %s instead of READY", got)
	}
	var ready struct {
		S uint64
		D struct {
			SessionID string `json:"session_id"`
		}
	}
	lines := strings.Split(strings.TrimSpace(k.said), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &ready); err != nil || ready.D.SessionID == "" {
		k.t.Fatalf("%s (%v)", k.said, err)
	}
	return ready.D.SessionID, strconv.FormatUint(ready.S, 10)
}
