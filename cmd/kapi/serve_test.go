//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/kapitest"
)

// A planned stop lets requests in progress finish.
func TestServeStopsGracefully(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	begun, finish := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-finish
		fmt.Fprint(w, "finished")
	})
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- serveAlone(ctx, listener, handler) }()
	answered := make(chan string, 1)
	url := "http://" + listener.Addr().String()
	go func() {
		defer http.DefaultClient.CloseIdleConnections()
		resp, err := http.Get(url)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answered <- string(body)
	}()
	<-begun
	stop()
	// At some point no new connection is accepted, while the old one is still served.
	kapitest.Eventually(t, "it listens no more", func() bool {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	select {
	case err := <-served:
		t.Fatalf("serve did not wait for the request: %v", err)
	default:
	}
	close(finish)
	if got := <-answered; got != "finished" {
		t.Errorf("got %q", got)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestServeRefusesLargeHeaders(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- serveAlone(ctx, listener, http.NotFoundHandler())
	}()
	req, _ := http.NewRequest(http.MethodGet, "http://"+listener.Addr().String(), nil)
	req.Header.Set("X-Large", strings.Repeat("x", 64<<10))
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("got %s", resp.Status)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// The first start on a store creates a token and prints it once, and only on a terminal.
func TestFirstStartOnATerminal(t *testing.T) {
	master, slave := kapitest.Terminal(t)
	store := "sqlite:" + filepath.Join(t.TempDir(), "kapi.db")
	start := func() (*exec.Cmd, *bufio.Scanner) {
		cmd := exec.Command("kapi", "serve", "--store", store, "--listen", "127.0.0.1:0", "--log-level", "debug")
		cmd.Stdout = slave
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd, bufio.NewScanner(stderr)
	}
	stop := func(cmd *exec.Cmd, log *bufio.Scanner) (rest string) {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		for log.Scan() {
			rest += log.Text() + "\n"
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, rest)
		}
		return rest
	}

	first, log := start()
	screen := bufio.NewReader(master)
	shown := func() (text string) {
		for !strings.Contains(text, "/page/enter?code=") {
			line, err := screen.ReadString('\n')
			if err != nil {
				t.Fatalf("%v after %q", err, text)
			}
			text += line
		}
		return text
	}
	text := shown()
	m := regexp.MustCompile(`curl -H 'Authorization: Bearer (\S+)' (http://127\.0\.0\.1:\d+/v4/kapi/actions)`).FindStringSubmatch(text)
	if m == nil || strings.Count(text, m[1]) != 2 {
		t.Fatalf("no token and command in %q", text)
	}
	req, _ := http.NewRequest(http.MethodGet, m[2], nil)
	req.Header.Set("Authorization", "Bearer "+m[1])
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the command that was shown got the answer %s", resp.Status)
	}
	link, session := followLink(t, text)
	if rest := stop(first, log); strings.Contains(rest, m[1]) || strings.Contains(rest, session) || strings.Contains(rest, link[strings.Index(link, "=")+1:]) {
		t.Errorf("a token or code is in the log:\n%s", rest)
	}

	second, log := start()
	if !log.Scan() {
		t.Fatal("no log")
	}
	// The second start prints a new link, and no token.
	if again := shown(); strings.Contains(again, link) || strings.Contains(again, "Bearer") || strings.Contains(again, m[1]) {
		t.Errorf("the second start printed %q", again)
	}
	stop(second, log)
	_ = slave.Close()
	if rest, _ := io.ReadAll(screen); strings.TrimSpace(string(rest)) != "" {
		t.Errorf("and then it printed %q", rest)
	}
}

// followLink opens the link in a text as a browser does, and sends its code twice, as the page does. It returns
// the link, and the half of the session that the first answer has.
func followLink(t *testing.T, text string) (link, session string) {
	t.Helper()
	link = regexp.MustCompile(`http://127\.0\.0\.1:\d+/page/enter\?code=[A-Z2-7]{26}`).FindString(text)
	if link == "" {
		t.Fatalf("no link in %q", text)
	}
	base, code, _ := strings.Cut(link, "/page/enter?code=")
	if led, _ := ask(t, "GET", link, "", nil, ""); led.StatusCode != http.StatusSeeOther || led.Header.Get("Location") != "../#/enter/"+code || len(led.Cookies()) != 0 {
		t.Fatalf("the link answers %s, %v", led.Status, led.Header)
	}
	first, body := ask(t, "POST", base+"/page/session", `{"code":"`+code+`"}`, nil, "")
	var given struct{ Session string }
	if err := json.Unmarshal([]byte(body), &given); err != nil || first.StatusCode != http.StatusOK || len(first.Cookies()) != 1 || given.Session == "" {
		t.Fatalf("the code is answered %s, %s", first.Status, body)
	}
	if second, body := ask(t, "POST", base+"/page/session", `{"code":"`+code+`"}`, nil, ""); second.StatusCode != http.StatusUnauthorized || len(second.Cookies()) != 0 {
		t.Errorf("the second time it is answered %s, %s", second.Status, body)
	}
	for half, want := range map[string]int{given.Session: http.StatusOK, "": http.StatusUnauthorized} {
		if resp, _ := ask(t, "GET", base+"/v4/kapi/actions", "", first.Cookies(), half); resp.StatusCode != want {
			t.Errorf("with the cookie and the half %q the list answers %s", half, resp.Status)
		}
	}
	return link, given.Session
}

// ask sends a request as the page does, with the halves of a session. It follows no redirects.
func ask(t *testing.T, method, address, body string, cookies []*http.Cookie, half string) (*http.Response, string) {
	t.Helper()
	req, _ := http.NewRequest(method, address, strings.NewReader(body))
	req.Close = true
	req.Header.Set("Content-Type", "application/json")
	if half != "" {
		req.Header.Set(auth.SessionHeader, half)
	}
	for _, cookie := range cookies {
		req.AddCookie(cookie)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(answer)
}

func TestBrowsable(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"http://127.0.0.1:4080":   "http://127.0.0.1:4080",
		"https://192.0.2.7:443":   "https://192.0.2.7:443",
		"http://[::1]:4080":       "http://[::1]:4080",
		"https://[::]:443":        "https://" + host + ":443",
		"http://0.0.0.0:4080":     "http://" + host + ":4080",
		"http://kapi.example:480": "http://kapi.example:480",
	} {
		if got := browsable(address, nil); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
	for host, want := range map[string]string{"kapi.example": "http://kapi.example:80", "[::7]": "http://[::7]:80", "::7": "http://[::7]:80"} {
		if got := browsable("http://0.0.0.0:80", []string{host, "other"}); got != want {
			t.Errorf("with --host %s: %s, want %s", host, got, want)
		}
	}
}
