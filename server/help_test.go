package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/server"
	"github.com/kettubot/kapi/sqlite"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fixture is a server over a real engine, whose store can be made to fail.
type fixture struct {
	t     *testing.T
	peer  *peer.Peer
	store *flaky
	log   *logged
	http.Handler
}

// newFixture opens a fixture. Without o.Authenticate, it uses byName.
func newFixture(t *testing.T, o server.Options) *fixture {
	t.Helper()
	return newFixtureOf(t, o, peer.Options{})
}

// newFixtureOf is newFixture with options of the peer. Its logger is replaced.
func newFixtureOf(t *testing.T, o server.Options, po peer.Options) *fixture {
	t.Helper()
	memory, err := sqlite.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, store: &flaky{Store: memory}, log: new(logged)}
	logger := slog.New(slog.NewJSONHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	po.Logger = logger
	f.peer, err = peer.Open(t.Context(), f.store, po)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.store.fail.Store(nil)
		if err := f.peer.Close(); err != nil {
			t.Error(err)
		}
	})
	if o.Authenticate == nil {
		o.Authenticate = byName
	}
	if o.Logger == nil {
		o.Logger = logger
	}
	f.Handler = &documented{t, server.New(f.peer, o)}
	return f
}

// documented fails the test if an answer is not as docs/openapi.yaml has it.
type documented struct {
	t *testing.T
	*server.Server
}

func (d *documented) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.Server.ServeHTTP(w, r)
	if rec, ok := w.(*httptest.ResponseRecorder); ok && r.Header.Get("Upgrade") == "" {
		if err := undocumented(r, rec); err != nil {
			d.t.Error(err)
		}
	}
}

// byName takes the name of an identity or an error for a token.
func byName(r *http.Request) (auth.Identity, error) {
	_, name, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if cookie, err := r.Cookie("sess"); name == "" && err == nil {
		name = cookie.Value
	}
	switch name {
	case "":
		return auth.Identity{}, auth.ErrNoToken
	case "admin":
		return auth.Identity{ID: "1", Name: "alice", Type: auth.TypeUser, Permissions: auth.Admin}, nil
	case "owner":
		return auth.Identity{ID: "2", Name: "olga", Type: auth.TypeUser, Permissions: auth.Owner}, nil
	case "kettu":
		return auth.Identity{ID: "3", Name: "kettu", Type: auth.TypeKettu, Permissions: auth.Kettu}, nil
	case "plain":
		return auth.Identity{ID: "4", Name: "bob", Type: auth.TypeUser}, nil
	case "metrics":
		return auth.Identity{ID: "5", Name: "prometheus", Type: auth.TypeBot, Permissions: auth.ReadMetrics}, nil
	case "run", "another-run":
		return auth.Identity{ID: "6" + name, Name: "ci", Type: auth.TypeBot, Permissions: auth.RunActions}, nil
	case "expired":
		return auth.Identity{}, auth.ErrExpiredToken
	case "unknown":
		return auth.Identity{}, auth.ErrUnknownToken
	case "outage":
		return auth.Identity{}, errors.New("the directory is away")
	case "panic":
		panic("oh no")
	case "abort":
		panic(http.ErrAbortHandler)
	}
	return auth.Identity{}, auth.ErrInvalidToken
}

// flaky is a store that fails once it is told to.
type flaky struct {
	store.Store
	fail atomic.Pointer[error]
}

func (s *flaky) failWith(err error) { s.fail.Store(&err) }

func (s *flaky) err() error {
	if p := s.fail.Load(); p != nil {
		return *p
	}
	return nil
}

func (s *flaky) Feed(ctx context.Context, since uint64) (store.Page, error) {
	if err := s.err(); err != nil {
		return store.Page{}, err
	}
	return s.Store.Feed(ctx, since)
}

func (s *flaky) Some(ctx context.Context, ids []string) (store.Snapshot, error) {
	if err := s.err(); err != nil {
		return store.Snapshot{}, err
	}
	return s.Store.Some(ctx, ids)
}

func (s *flaky) Commit(ctx context.Context, b store.Batch, decide func(store.Loaded) (store.Writes, error)) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.Store.Commit(ctx, b, decide)
}

// logged is what was logged, one JSON object a line.
type logged struct{ kapitest.Output }

// line returns the first one that holds all these, decoded.
func (l *logged) line(t *testing.T, parts ...string) map[string]any {
	t.Helper()
lines:
	for line := range strings.Lines(l.String()) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue lines
			}
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	t.Fatalf("no line with %q in the log:\n%s", parts, l.String())
	return nil
}

// start starts an action that runs until the fixture ends, or it is cancelled.
func (f *fixture) start(title string) kapi.Action {
	f.t.Helper()
	a, err := f.peer.Start(f.t.Context(), kapi.Spec{Title: title, Keys: []string{title}},
		func(ctx context.Context, _ kapi.Handle) error {
			<-ctx.Done()
			return context.Cause(ctx)
		})
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

// failed returns the id of an action that has failed.
func (f *fixture) failed(title string) string {
	f.t.Helper()
	var id string
	_ = f.peer.Do(f.t.Context(), kapi.Spec{Title: title}, func(_ context.Context, h kapi.Handle) error {
		id = h.ID()
		return errors.New("slot 7 is stuck")
	})
	if id == "" {
		f.t.Fatal("the action did not start")
	}
	return id
}

// send sends a request; each of more is a header, "Name: value".
func (f *fixture) send(method, target, body string, more ...string) *httptest.ResponseRecorder {
	return send(f, request(method, target, body, more...))
}

// as is send with a token.
func (f *fixture) as(name, method, target string) *httptest.ResponseRecorder {
	return f.send(method, target, "", "Authorization: Bearer "+name)
}

// cancelled returns the context of a client that has disconnected.
func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func request(method, target, body string, more ...string) *http.Request {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, target, reader)
	for _, header := range more {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func send(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func expect(t *testing.T, w *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	if w.Code != status || w.Body.String() != body {
		t.Errorf("got %d %s\nwant %d %s", w.Code, w.Body, status, body)
	}
}

// golden compares the body, with what differs from run to run made the same, to a file
// of testdata.
func golden(t *testing.T, name string, w *httptest.ResponseRecorder) {
	t.Helper()
	got := w.Body.String()
	for _, c := range [][2]string{
		{`"(id|report)":"[a-z0-9A-Z]+"`, `"$1":"..."`},
		{`incident [A-Z0-9]+`, `incident ...`},
		{`"host":"[^"]*"`, `"host":"..."`},
		{`evil.example:\d+`, `evil.example`},
		{`(?i)\\"(gzip|iso-8859-1)\\"`, `"..."`},
		{`"pid":\d+`, `"pid":1`},
		{`"(\w+_at)":\d{13}`, `"$1":1700000000000`},
	} {
		got = regexp.MustCompile(c[0]).ReplaceAllString(got, c[1])
	}
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
	}
}
