package server_test

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/server"
)

// limitedWeb serves a handler with limits, over TLS or not.
func limitedWeb(t *testing.T, h http.Handler, l server.ConnectionLimits, overTLS bool) (*httptest.Server, *server.Connections) {
	t.Helper()
	l.Logger = slog.New(slog.DiscardHandler)
	connections := server.LimitConnections(l)
	web := httptest.NewUnstartedServer(h)
	web.Listener = connections.Listener(web.Listener)
	web.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	web.Config.ConnContext = connections.ConnContext
	if overTLS {
		web.StartTLS()
	} else {
		web.Start()
	}
	t.Cleanup(web.Close)
	return web, connections
}

// idle opens n connections and says nothing.
func idle(t *testing.T, web *httptest.Server, n int) (all []net.Conn) {
	t.Helper()
	for range n {
		c, err := net.Dial("tcp", web.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		all = append(all, c)
	}
	return all
}

// A connection on which a valid token was sent stays open, whatever strangers open at the same address.
// Theirs are closed to make room.
func TestConnectionsOfStrangersMakeRoom(t *testing.T) {
	for _, overTLS := range []bool{false, true} {
		f := newFixture(t, server.Options{})
		web, connections := limitedWeb(t, f, server.ConnectionLimits{MaxConnections: 40, MaxConnectionsAddress: 8}, overTLS)
		client := web.Client()
		ask := func(token string) {
			t.Helper()
			r, err := http.NewRequest("GET", web.URL+"/v4/kapi/actions", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+token)
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Fatal(resp.Status)
			}
		}
		ask("admin")
		idle(t, web, 100)
		ask("admin")
		kapitest.Eventually(t, "the admin is the one that is signed in", func() bool {
			got := connections.Stats()
			return got.SignedIn == 1 && got.Strangers == 8 && got.Closed == 92
		})
		client.CloseIdleConnections()
		ask("owner") // over a new one
		if got := connections.Stats(); got.Closed != 93 {
			t.Errorf("TLS %v: %+v", overTLS, got)
		}
	}
}

// A trusted proxy may have as many connections as there is room for.
func TestConnectionsOfProxies(t *testing.T) {
	web, connections := limitedWeb(t, newFixture(t, server.Options{}), server.ConnectionLimits{
		MaxConnections: 40, MaxConnectionsAddress: 8, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}, false)
	idle(t, web, 30)
	kapitest.Eventually(t, "all are open", func() bool { return connections.Stats().Strangers == 30 })
	all := idle(t, web, 20)
	last := all[len(all)-1]
	if _, err := io.WriteString(last, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(last).ReadString('\n'); !strings.Contains(line, "200") {
		t.Errorf("%q, %v", line, err)
	}
	if got := connections.Stats(); got.Strangers != 40 || got.Closed != 10 || got.Failures != 0 {
		t.Errorf("%+v", got)
	}
}
