package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/kapitest"
)

// A stranger attacks a server from the address of its users.
type stranger struct {
	*served
	ctx context.Context
	all sync.WaitGroup
}

// again calls f over and over until the test is over, four times at once.
func (s *stranger) again(f func()) {
	for range 4 {
		s.all.Go(func() {
			for s.ctx.Err() == nil {
				f()
			}
		})
	}
}

// ask sends a request and ignores the answer.
func (s *stranger) ask(method, path string, headers ...string) {
	r, err := http.NewRequestWithContext(s.ctx, method, s.url+path, nil)
	if err != nil {
		s.t.Error(err)
		return
	}
	r.Close = true
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	if resp, err := http.DefaultTransport.RoundTrip(r); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}

// handshakes opens connections of the gateway, and leaves the last of them open.
func (s *stranger) handshakes(header http.Header) {
	var open [50]*websocket.Conn
	for i := 0; s.ctx.Err() == nil; i = (i + 1) % len(open) {
		if open[i] != nil {
			_ = open[i].CloseNow()
		}
		open[i], _, _ = websocket.Dial(s.ctx, s.url+"/gateway?v=4", &websocket.DialOptions{HTTPHeader: header})
	}
	for _, c := range open {
		if c != nil {
			_ = c.CloseNow()
		}
	}
}

// idle opens n connections, writes to each, and keeps them open.
func (s *stranger) idle(n int, address, says string) {
	s.t.Helper()
	for range n {
		c, err := net.Dial("tcp", address)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = c.Close() })
		_, _ = io.WriteString(c, says)
	}
}

func (s *stranger) attack() {
	guess := func() string {
		secret, _, err := auth.New("nobody", auth.TypeUser, auth.Admin, 0)
		if err != nil {
			s.t.Error(err)
		}
		return secret
	}
	s.again(func() { s.ask("GET", "/v4/kapi/actions") })
	s.again(func() { s.ask("GET", "/v4/kapi/actions", "Authorization: Bearer "+guess()) })
	s.again(func() { s.ask("GET", "/v4/kapi/actions", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors") })
	s.again(func() { s.ask("GET", []string{"/", "/readyz", "/v4/gateway"}[len(guess())%3]) })
	s.again(func() { s.ask("POST", "/page/session") })
	s.again(func() { s.handshakes(nil) })
	s.again(func() { s.handshakes(http.Header{"Origin": {"https://evil.example"}}) })
}

// An admin at the address of a stranger who floods the server with requests, handshakes and more
// connections than it can have open files is never refused, whether their token was seen before or not.
// The log and the metrics show the flood.
func TestStrangersKeepNobodyOut(t *testing.T) {
	s := startServerBy(t, "sh", "-c", `ulimit -n 1024 && exec kapi "$@"`, "sh")
	ctx, cancel := context.WithCancel(t.Context())
	attacker := &stranger{served: s, ctx: ctx}
	defer attacker.all.Wait()
	defer cancel()
	address := strings.TrimPrefix(s.url, "http://")
	attacker.idle(1000, address, "")
	attacker.idle(500, address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	attacker.idle(300, strings.Split(strings.TrimPrefix(s.metrics, "http://"), "/")[0], "")
	attacker.attack()

	watching := listenTo(t, s)
	for i := range 15 {
		fresh, err := exec.Command("kapi", "token", "create", "--store", s.store, "--name", fmt.Sprint("fresh", i), "--perms", "admin").Output()
		if err != nil {
			t.Fatal(err)
		}
		token := strings.TrimSpace(string(fresh))
		for range 5 {
			if status, answer := s.ask("GET", s.url+"/v4/kapi/actions", token, ""); status != 200 {
				t.Fatalf("a new token: %d %s", status, answer)
			}
		}
		for _, path := range []string{"/", "/readyz", "/v4/gateway"} {
			if status, answer := s.ask("GET", s.url+path, "", ""); status != 200 {
				t.Fatalf("%s: %d %s", path, status, answer)
			}
		}
		if status, answer := s.ask("POST", s.url+"/page/session", "", fmt.Sprintf(`{"token":%q}`, token)); status != 200 {
			t.Fatalf("signing in: %d %s", status, answer)
		}
		if status, _ := s.ask("GET", s.metrics, "", ""); status != 200 {
			t.Fatalf("metrics: %d", status)
		}
		s.end(s.begin(fmt.Sprint("key", i)), 5)
		watching.until(5)
		listenTo(t, s).leave()
	}
	out, err := exec.Command("kapi", "run", "--server", s.url, "--token", s.token, "--", "echo", "it runs").CombinedOutput()
	if err != nil || string(out) != "it runs\n" {
		t.Errorf("kapi run: %v, %s", err, out)
	}
	kapitest.Eventually(t, "the log says that there are too many", func() bool {
		return strings.Contains(s.log.String(), "connections are closed to make room for others")
	})
	if _, metrics := s.ask("GET", s.metrics, "", ""); !strings.Contains(metrics, "\nkapi_connections_closed_total ") || strings.Contains(metrics, "\nkapi_connections_closed_total 0") {
		t.Errorf("the metrics don't count what was closed:\n%s", metrics)
	}
	if strings.Contains(s.log.String(), "too many open files") {
		t.Errorf("there were no files left:\n%s", s.log)
	}
}

// The metrics listener allows a few connections from each address, and closes idle ones to make room.
func TestMetricsListenerHasLimits(t *testing.T) {
	s := startServer(t)
	address := strings.Split(strings.TrimPrefix(s.metrics, "http://"), "/")[0]
	var closed atomic.Int64
	var reading sync.WaitGroup
	defer reading.Wait()
	for range metricsConnectionsAddress + 10 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\n"); err != nil { // without the rest, which the server awaits for five seconds
			t.Fatal(err)
		}
		reading.Go(func() {
			_, _ = io.Copy(io.Discard, c)
			closed.Add(1)
		})
	}
	kapitest.Eventually(t, "ten made room", func() bool { return closed.Load() >= 10 })
	if status, _ := s.ask("GET", s.metrics, "", ""); status != 200 {
		t.Errorf("a scrape: %d", status)
	}
	if !strings.Contains(s.log.String(), "max_connections=64 max_connections_address=16") {
		t.Errorf("the log doesn't mention it:\n%s", s.log)
	}
}

// A listening is an admin's connection to the gateway.
type listening struct {
	t    *testing.T
	conn *websocket.Conn
}

func listenTo(t *testing.T, s *served) *listening {
	t.Helper()
	conn, _, err := websocket.Dial(kapitest.Within(t), s.url+"/gateway?v=4", nil)
	if err != nil {
		t.Fatalf("the gateway: %v", err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	w := &listening{t, conn}
	if err := conn.Write(t.Context(), websocket.MessageText, fmt.Appendf(nil, `{"op":4,"d":{"token":%q,"intents":64}}`, s.token)); err != nil {
		t.Fatal(err)
	}
	w.read(`"READY"`)
	return w
}

// read reads until a dispatch contains want.
func (w *listening) read(want string) {
	w.t.Helper()
	for {
		_, data, err := w.conn.Read(kapitest.Within(w.t))
		if err != nil {
			w.t.Fatalf("waiting for %s: %v", want, err)
		}
		if strings.Contains(string(data), want) {
			return
		}
	}
}

func (w *listening) until(status int) {
	w.t.Helper()
	w.read(fmt.Sprintf(`"status":%d`, status))
}

func (w *listening) leave() { _ = w.conn.Close(websocket.StatusNormalClosure, "") }
