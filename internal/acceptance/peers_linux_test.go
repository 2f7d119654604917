package acceptance

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/client"
	"github.com/kettubot/kapi/internal/kapitest"
)

const (
	// A token revoked at one peer must be refused by the others this soon, and its connections closed.
	revokedWithin = time.Second
	cutWithin     = 5 * time.Second
)

// A dispatch is a message of the gateway.
type dispatch struct {
	Op int             `json:"op"`
	T  string          `json:"t"`
	S  uint64          `json:"s"`
	D  json.RawMessage `json:"d"`
}

// A listener is a client of the gateway that does only what the test tells it to.
type listener struct {
	t    *testing.T
	conn *websocket.Conn
	seq  uint64 // of the last dispatch
}

// dial connects to a server's gateway, and sends a first message.
func dial(t *testing.T, k *installation, op int, data map[string]any) *listener {
	t.Helper()
	ctx := kapitest.Within(t)
	url := "ws" + strings.TrimPrefix(k.url, "http") + "/gateway?v=4&encoding=json"
	conn, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	l := &listener{t: t, conn: conn}
	if hello, err := l.read(); err != nil || hello.Op != 3 {
		t.Fatalf("got %+v (%v), want a hello", hello, err)
	}
	data["token"] = k.token
	message, err := json.Marshal(map[string]any{"op": op, "d": data})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Write(ctx, websocket.MessageText, message); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *listener) read() (d dispatch, err error) {
	ctx, cancel := context.WithTimeout(l.t.Context(), kapitest.Patience)
	defer cancel()
	_, data, err := l.conn.Read(ctx)
	if err == nil {
		err = json.Unmarshal(data, &d)
	}
	return d, err
}

// next returns the next dispatch, whose seq must not go back.
func (l *listener) next() dispatch {
	l.t.Helper()
	d, err := l.read()
	if err != nil || d.Op != 0 {
		l.t.Fatalf("got %+v (%v), want a dispatch", d, err)
	}
	if d.S < l.seq {
		l.t.Errorf("got seq %d after %d", d.S, l.seq)
	}
	l.seq = d.S
	return d
}

// identify begins a session at a server, and returns its id.
func identify(t *testing.T, k *installation) (l *listener, session string) {
	t.Helper()
	l = dial(t, k, 4, map[string]any{"intents": 1 << 6, "properties": map[string]any{}})
	var ready struct {
		SessionID string `json:"session_id"`
	}
	if d := l.next(); d.T != "READY" || json.Unmarshal(d.D, &ready) != nil || ready.SessionID == "" {
		t.Fatalf("got %+v, want a READY", d)
	}
	return l, ready.SessionID
}

// update returns the action of the next dispatch.
func (l *listener) update() (a kapi.Action) {
	l.t.Helper()
	d := l.next()
	if err := json.Unmarshal(d.D, &a); err != nil || d.T != "KAPI_ACTION_UPDATE" || a.Seq != d.S {
		l.t.Fatalf("got %+v, want an update", d)
	}
	return a
}

// serveMore starts another kapi serve on the same store.
func (k *installation) serveMore() (*installation, *process) {
	k.t.Helper()
	more := &installation{t: k.t, binary: k.binary, store: k.store, env: k.env, token: k.token}
	return more, more.serveOnly()
}

func (k *installation) client() *client.Client {
	k.t.Helper()
	c, err := client.New(k.url, k.token, client.Options{})
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			k.t.Error(err)
		}
	})
	return c
}

// TestThreeServers runs three kapi serve on one database. A client of one sees changes made at another.
// When its own server is killed, it continues at the third, and misses nothing.
func TestThreeServers(t *testing.T) {
	t.Parallel()
	first := install(t, buildKapi(t))
	first.store = inDatabase(t)
	first.serve()
	second, process := first.serveMore()
	third, _ := first.serveMore()
	at := first.client()
	listener, session := identify(t, second)

	start := func(title string) kapi.Remote {
		t.Helper()
		r, err := at.Start(t.Context(), kapi.Spec{Title: title, Keys: []string{title}}, "")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	one := start("one")
	if a := listener.update(); a.ID != one.Action.ID || a.Status != kapi.StatusRunning {
		t.Errorf("the second server sent %+v", a)
	}
	process.signal(syscall.SIGKILL)
	if _, err := listener.read(); err == nil {
		t.Error("the connection outlived its server")
	}

	two := start("two")
	completed := kapi.StatusCompleted
	for _, r := range []kapi.Remote{one, two} {
		if _, _, err := at.Report(t.Context(), r.Action.ID, kapi.Report{Fence: r.Fence, Status: &completed}); err != nil {
			t.Fatal(err)
		}
	}
	three := start("three")
	resumed := dial(t, third, 5, map[string]any{"session_id": session, "seq": listener.seq})
	resumed.seq = listener.seq
	for _, want := range []struct {
		id     string
		status kapi.Status
	}{{one.Action.ID, completed}, {two.Action.ID, completed}, {three.Action.ID, kapi.StatusRunning}} {
		if a := resumed.update(); a.ID != want.id || a.Status != want.status {
			t.Errorf("the third server sent %+v, want %+v", a, want)
		}
	}
	if d := resumed.next(); d.T != "RESUMED" {
		t.Errorf("got %+v after everything else", d)
	}
	revokeEverywhere(t, first, third, resumed)
}

// revokeEverywhere revokes the token, and checks how soon another server refuses it.
func revokeEverywhere(t *testing.T, here, there *installation, open *listener) {
	t.Helper()
	if status, body := there.request(http.MethodGet, "/v4/kapi/actions"); status != http.StatusOK {
		t.Fatalf("got %d for a token created at another server: %s", status, body)
	}
	listed, _, code := here.run("token ls")
	_, row, _ := strings.Cut(listed, "\n") // after the heading
	id, _, _ := strings.Cut(row, " ")
	if code != 0 || id == "" {
		t.Fatalf("kapi token ls exits with %d: %s", code, listed)
	}
	if _, stderr, code := here.run("token revoke", id); code != 0 {
		t.Fatalf("kapi token revoke %s exits with %d: %s", id, code, stderr)
	}
	revoked := time.Now()
	kapitest.Eventually(t, "the token is refused", func() bool {
		began := time.Now()
		status, _ := there.request(http.MethodGet, "/v4/kapi/actions")
		if status == http.StatusOK && began.Sub(revoked) > revokedWithin {
			t.Errorf("a request %v after the token was revoked was not refused", began.Sub(revoked))
		}
		return status == http.StatusUnauthorized
	})
	for {
		if _, err := open.read(); err != nil {
			if code := websocket.CloseStatus(err); code != 4004 {
				t.Errorf("the connection was closed with %v", err)
			}
			break
		}
	}
	if took := time.Since(revoked); took > cutWithin+settleWithin() {
		t.Errorf("the connection was closed after %v", took)
	}
}
