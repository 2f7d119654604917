package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/client"
	"github.com/kettubot/kapi/internal/kapitest"
)

// A fake is a server whose gateway does what a test says.
type fake struct {
	*httptest.Server
	conns atomic.Int32
}

const (
	fakeHello = `{"op":3,"d":{"heartbeat_interval":100}}`
	fakeReady = `{"op":0,"t":"READY","s":9,"d":{"user":{},"session_id":"x"}}`
)

// newFake greets every connection and hands it, with its number, to serve.
func newFake(t *testing.T, list string, serve func(n int, conn *websocket.Conn)) *fake {
	t.Helper()
	f := &fake{}
	mux := http.NewServeMux()
	mux.HandleFunc("/v4/gateway", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"url":"ws://%s/ws"}`, r.Host)
	})
	mux.HandleFunc("/v4/kapi/actions", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, list) })
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		_ = conn.Write(r.Context(), websocket.MessageText, []byte(fakeHello))
		_, _, _ = conn.Read(r.Context()) // identify or resume
		serve(int(f.conns.Add(1)), conn)
	})
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

func watchOf(t *testing.T, url string) *client.Watch {
	t.Helper()
	c, err := client.New(url, "x", client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	w, err := c.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func text(conn *websocket.Conn, s string) {
	_ = conn.Write(context.Background(), websocket.MessageText, []byte(s))
}

// A watch never goes back behind what its snapshot has.
func TestWatchNeverGoesBack(t *testing.T) {
	action := func(seq, status int) string {
		return fmt.Sprintf(`{"id":"x","title":"t","created_at":1,"status":%d,"description":"","seq":%d}`, status, seq)
	}
	f := newFake(t, "["+action(12, 3)+"]", func(_ int, conn *websocket.Conn) {
		text(conn, fakeReady)
		for _, u := range [][2]int{{10, 2}, {11, 1}, {12, 3}, {13, 4}} {
			text(conn, fmt.Sprintf(`{"op":0,"t":"KAPI_ACTION_UPDATE","s":%d,"d":%s}`, u[0], action(u[0], u[1])))
		}
		for {
			if _, _, err := conn.Read(context.Background()); err != nil {
				return
			}
		}
	})
	a, err := watchOf(t, f.URL).Next(kapitest.Within(t))
	if err != nil || a.Seq != 13 {
		t.Errorf("after seq 12 came %d, %v", a.Seq, err)
	}
}

// A connection on which nothing comes back is closed, and a new one opened.
func TestSilentLink(t *testing.T) {
	again := make(chan struct{})
	f := newFake(t, "[]", func(n int, conn *websocket.Conn) {
		if n == 1 {
			text(conn, fakeReady)
		} else {
			close(again)
		}
		for {
			_, data, err := conn.Read(context.Background())
			if err != nil {
				return
			}
			var m struct{ Op int }
			if _ = json.Unmarshal(data, &m); n > 1 && m.Op == 1 {
				text(conn, `{"op":1,"a":true}`)
			}
		}
	})
	watchOf(t, f.URL)
	kapitest.Receive(t, again, "another link than the silent one")
	time.Sleep(time.Second) // ten heartbeats, which are answered
	if n := f.conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// A server that accepts connections and closes them at once is tried less and less often.
func TestBackoffWhileResumesFail(t *testing.T) {
	f := newFake(t, "[]", func(n int, conn *websocket.Conn) {
		if n == 1 {
			text(conn, fakeReady)
		}
		_ = conn.Close(4000, "Unknown error")
	})
	watchOf(t, f.URL)
	time.Sleep(4 * time.Second)
	if n := f.conns.Load(); n > 9 {
		t.Errorf("%d connections in 4 s", n)
	}
}

// A cutter ends a context at the moment when a start was answered.
type cutter struct {
	cancel context.CancelFunc
	once   sync.Once
}

type cutBody struct {
	io.ReadCloser
	cutter *cutter
}

func (b cutBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF { //nolint:errorlint // as io.Reader has it
		b.cutter.once.Do(b.cutter.cancel)
	}
	return n, err
}

func (c *cutter) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/kapi/actions") {
		resp.Body = cutBody{resp.Body, c}
	}
	return resp, err
}

// An action that was started is either run or withdrawn, never both.
func TestCancelledAsItWasStarted(t *testing.T) {
	h := newHost(t)
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	ctx, cancel := context.WithCancel(t.Context())
	c, err := client.New("http://"+h.address, "admin", client.Options{HTTP: &http.Client{Transport: &cutter{cancel: cancel}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ran := false
	err = c.Do(ctx, kapi.Spec{Title: "T", Keys: []string{"k"}}, func(ctx context.Context, op kapi.Handle) error {
		ran = true
		if _, err := h.peer.Get(context.Background(), op.ID()); err != nil {
			t.Errorf("it runs, but its action: %v", err)
		}
		<-ctx.Done()
		return context.Cause(ctx)
	})
	if ran != (err != nil) {
		t.Errorf("ran: %v, Do: %v", ran, err)
	}
}

// A server that is away at the end is reported like one that is away before.
func TestReportingOfTheEnd(t *testing.T) {
	h := newHost(t)
	reporting := make(chan error, 10)
	c, err := client.New("http://"+h.address, "admin", client.Options{
		EndTimeout: kapitest.Patience, Reporting: func(_ string, err error) { reporting <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	done := make(chan error, 1)
	go func() {
		done <- c.Do(t.Context(), kapi.Spec{Title: "T"}, func(context.Context, kapi.Handle) error {
			h.stop()
			return nil
		})
	}()
	for _, lost := range []bool{true, false} {
		if err := kapitest.Receive(t, reporting, "what Reporting is called with"); (err != nil) != lost {
			t.Errorf("Reporting is called with %v, lost: %v", err, lost)
		}
		if lost {
			h.start()
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A forgetter loses the answer to the first report that an action begins.
type forgetter struct{ done atomic.Bool }

func (f *forgetter) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Method == http.MethodPatch {
		body, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && strings.Contains(string(body), `"status":1`) && !f.done.Swap(true) {
		_ = resp.Body.Close()
		return nil, &net.OpError{Op: "read", Err: io.ErrUnexpectedEOF}
	}
	return resp, err
}

// If the answer is lost when it is an action's turn, the action must not be left behind.
func TestLostAnswerToBeginning(t *testing.T) {
	h := newHost(t)
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	lossy := &forgetter{}
	c, err := client.New("http://"+h.address, "admin", client.Options{HTTP: &http.Client{Transport: lossy}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	release := make(chan struct{})
	first := make(chan error, 1)
	held := make(chan struct{})
	go func() {
		first <- h.peer.Do(context.Background(), kapi.Spec{Title: "first", Keys: []string{"k"}}, func(context.Context, kapi.Handle) error {
			close(held)
			<-release
			return io.ErrClosedPipe
		})
	}()
	<-held
	time.AfterFunc(500*time.Millisecond, func() { close(release) })
	ctx := kapitest.Within(t)
	ran := false
	// The holder fails, so this dismisses it too.
	err = c.Do(ctx, kapi.Spec{Title: "second", Keys: []string{"k"}, Wait: -1, DismissFailed: true}, func(_ context.Context, op kapi.Handle) error {
		ran = true
		op.SetState("on it")
		return nil
	})
	if err != nil || !ran || !lossy.done.Load() {
		t.Errorf("ran: %v, lost: %v, %v", ran, lossy.done.Load(), err)
	}
	<-first
	if all, err := c.List(ctx); err != nil || len(all) != 0 {
		t.Errorf("%+v are left, %v", all, err)
	}
}
