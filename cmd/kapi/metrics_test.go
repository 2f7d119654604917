//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
)

// A served is a running `kapi serve`, on ports that the system picked.
type served struct {
	t                   *testing.T
	url, metrics, token string
	store               string
	log                 *kapitest.Output // all of it
}

func startServer(t *testing.T) *served {
	t.Helper()
	return startServerBy(t, "kapi")
}

// startServerBy starts a server by a command, to which it adds kapi's arguments.
func startServerBy(t *testing.T, command ...string) *served {
	t.Helper()
	store := "sqlite:" + filepath.Join(t.TempDir(), "kapi.db")
	token, err := exec.Command("kapi", "token", "create", "--store", store, "--name", "ops", "--perms", "admin").Output()
	if err != nil {
		t.Fatal(err)
	}
	s := &served{t: t, token: strings.TrimSpace(string(token)), store: store, log: new(kapitest.Output)}
	command = append(command, "serve", "--store", store, "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0")
	cmd := exec.Command(command[0], command[1:]...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log := bufio.NewScanner(io.TeeReader(stderr, s.log))
	address := regexp.MustCompile(`msg="kapi serves( metrics)?" address=(http://127\.0\.0\.1:\d+\S*)`)
	for (s.url == "" || s.metrics == "") && log.Scan() {
		switch m := address.FindStringSubmatch(log.Text()); {
		case m == nil:
		case m[1] == "":
			s.url = m[2]
		default:
			s.metrics = m[2]
		}
	}
	if s.url == "" || s.metrics == "" {
		t.Fatal("the log names no addresses")
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for log.Scan() {
		}
	})
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		reading.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, s.log)
		}
	})
	return s
}

// ask sends a request; token and body may be empty.
func (s *served) ask(method, url, token, body string) (status int, answer string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), deadline)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// api calls a route with the token.
func (s *served) api(method, path, body string, want int) string {
	s.t.Helper()
	status, answer := s.ask(method, s.url+path, s.token, body)
	if status != want {
		s.t.Fatalf("%s %s: %d %s, want %d", method, path, status, answer, want)
	}
	return answer
}

// begin starts an action with a key.
func (s *served) begin(key string) (r kapi.Remote) {
	s.t.Helper()
	answer := s.api("POST", "/v4/kapi/actions", fmt.Sprintf(`{"title":"t","keys":[%q]}`, key), 201)
	if err := json.Unmarshal([]byte(answer), &r); err != nil {
		s.t.Fatal(err)
	}
	return r
}

// end reports a status twice; the second time changes nothing.
func (s *served) end(r kapi.Remote, status kapi.Status) {
	s.t.Helper()
	for range 2 {
		s.api("PATCH", "/v4/kapi/actions/"+r.Action.ID, fmt.Sprintf(`{"fence":%d,"status":%d}`, r.Fence, status), 200)
	}
}

// Both /metrics count what was done over REST and the gateway.
func TestMetricsOfAServer(t *testing.T) {
	s := startServer(t)
	s.end(s.begin("a"), kapi.StatusCompleted)
	failed := s.begin("b")
	s.end(failed, kapi.StatusFailed)
	for range 3 {
		s.api("POST", "/v4/kapi/actions", `{"title":"t","keys":["b"]}`, 409)
	}
	s.api("POST", "/v4/kapi/actions/"+failed.Action.ID+"/dismiss", "", 204)
	s.begin("c")
	s.connect()

	_, open := s.ask("GET", s.metrics, "", "")
	if status, _ := s.ask("GET", s.url+"/metrics", "", ""); status != 401 {
		t.Errorf("without a token: %d", status)
	}
	for name, text := range map[string]string{"open": open, "with a token": s.api("GET", "/metrics", "", 200)} {
		for _, line := range []string{
			`kapi_starts_total 3`,
			`kapi_seen_starts_total 3`,
			`kapi_ends_total{status="completed"} 1`,
			`kapi_ends_total{status="failed"} 1`,
			`kapi_ends_total{status="aborted"} 1`,
			`kapi_refusals_total{key="b"} 3`,
			`kapi_actions{status="running"} 1`,
			`kapi_actions{status="failed"} 0`,
			`kapi_gateway_connections 1`,
			`kapi_gateway_frames_sent_total 2`,
			`kapi_gateway_coalesced_total 0`,
			`kapi_gateway_closed_total{code="4012",reason="invalid_version"} 1`,
			`kapi_feed_lag_seconds_count 0`,
			`kapi_feed_seq 6`,
		} {
			if !strings.Contains(text, "\n"+line+"\n") {
				t.Errorf("%s: there is no %s", name, line)
			}
		}
		if strings.Contains(text, failed.Action.ID) {
			t.Errorf("%s: an id is in it", name)
		}
		problems, err := promlint.New(strings.NewReader(text)).Lint()
		if err != nil || len(problems) > 0 {
			t.Errorf("%s: %v, %v", name, problems, err)
		}
		if t.Failed() {
			t.Log(text)
		}
	}
}

// connect opens a connection to the gateway that stays, and one that is refused.
func (s *served) connect() {
	s.t.Helper()
	ctx := kapitest.Within(s.t)
	for _, version := range []string{"3", "4"} {
		conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(s.url, "http")+"/gateway?v="+version, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = conn.CloseNow() })
		if version == "3" {
			if _, _, err := conn.Read(ctx); websocket.CloseStatus(err) != 4012 {
				s.t.Errorf("closed with %v", err)
			}
			continue
		}
		identify := fmt.Sprintf(`{"op":4,"d":{"token":%q,"intents":64}}`, s.token)
		if err := conn.Write(ctx, websocket.MessageText, []byte(identify)); err != nil {
			s.t.Fatal(err)
		}
		for range 2 { // hello and READY
			if _, _, err := conn.Read(ctx); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	// The server may count a frame only after the client has read it.
	var text string
	kapitest.Eventually(s.t, "the connections are counted", func() bool {
		_, text = s.ask("GET", s.metrics, "", "")
		return strings.Contains(text, "\nkapi_gateway_frames_sent_total 2\n") && strings.Contains(text, "\nkapi_gateway_connections 1\n")
	}, func() string {
		return text
	})
}
