package client_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/client"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/server"
	"github.com/kettubot/kapi/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A host is a server over a store that can be stopped and started again, at the same address.
type host struct {
	t       *testing.T
	path    string
	address string
	peer    *peer.Peer
	server  *server.Server
	http    *http.Server
	served  chan error
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t: t, path: filepath.Join(t.TempDir(), "kapi.db"), address: "127.0.0.1:0"}
	h.start()
	t.Cleanup(h.stop)
	return h
}

func (h *host) start() {
	h.t.Helper()
	store, err := sqlite.Open(h.path)
	if err != nil {
		h.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if h.peer, err = peer.Open(context.Background(), store, peer.Options{Logger: log}); err != nil {
		h.t.Fatal(err)
	}
	h.server = server.New(h.peer, server.Options{Authenticate: authenticate, Logger: log})
	listener, err := net.Listen("tcp", h.address)
	if err != nil {
		h.t.Fatal(err)
	}
	h.address = listener.Addr().String()
	h.http = &http.Server{Handler: h.server}
	h.served = make(chan error, 1)
	go func() { h.served <- h.http.Serve(listener) }()
}

func (h *host) stop() {
	if h.http == nil {
		return
	}
	ctx := kapitest.Within(h.t)
	if err := errors.Join(h.server.Close(ctx), h.http.Shutdown(ctx), h.peer.Close()); err != nil {
		h.t.Error(err)
	}
	<-h.served
	h.http = nil
}

func authenticate(r *http.Request) (auth.Identity, error) {
	switch r.Header.Get("Authorization") {
	case "Bearer admin":
		return auth.Identity{ID: "1", Name: "ada", Permissions: auth.Admin}, nil
	case "Bearer plain":
		return auth.Identity{ID: "2", Name: "bob"}, nil
	case "Bearer run":
		return auth.Identity{ID: "3", Name: "ci", Permissions: auth.RunActions}, nil
	case "Bearer expired":
		return auth.Identity{}, auth.ErrExpiredToken
	case "":
		return auth.Identity{}, auth.ErrNoToken
	}
	return auth.Identity{}, auth.ErrInvalidToken
}

func (h *host) client(token string) *client.Client {
	h.t.Helper()
	c, err := client.New("http://"+h.address, token, client.Options{})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = c.Close() })
	return c
}

func ptr[T any](v T) *T { return &v }

func TestLifecycle(t *testing.T) {
	h := newHost(t)
	c := h.client("admin")
	ctx := t.Context()
	r, err := c.Start(ctx, kapi.Spec{Title: "Resharding", Keys: []string{"k"}}, "x")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.Start(ctx, kapi.Spec{Title: "Resharding", Keys: []string{"k"}}, "x"); err != nil || !reflect.DeepEqual(again, r) {
		t.Errorf("again: %+v, %v", again, err)
	}
	_, err = c.Start(ctx, kapi.Spec{Title: "other", Keys: []string{"k"}}, "")
	var held *kapi.HeldError
	if !errors.As(err, &held) || held.Key != "k" || held.Holder.ID != r.Action.ID {
		t.Errorf("the second start: %v", err)
	}
	a, cancel, err := c.Report(ctx, r.Action.ID, kapi.Report{Fence: r.Fence, Progress: ptr(0.5), State: ptr("half")})
	if err != nil || cancel || *a.Progress != 0.5 || a.State != "half" {
		t.Errorf("report: %+v, %v, %v", a, cancel, err)
	}
	if a, _, err := c.Report(ctx, r.Action.ID, kapi.Report{Fence: r.Fence, ResetProgress: true}); err != nil || a.Progress != nil {
		t.Errorf("reset: %+v, %v", a, err)
	}
	if all, err := c.List(ctx); err != nil || len(all) != 1 || all[0].ID != r.Action.ID {
		t.Errorf("list: %+v, %v", all, err)
	}
	if _, err := c.Dismiss(ctx, r.Action.ID, ""); !errors.Is(err, kapi.ErrNotFailed) {
		t.Errorf("dismiss: %v", err)
	}
	if a, err := c.Cancel(ctx, r.Action.ID, ""); err != nil || a.CancelRequestedAt == 0 {
		t.Errorf("cancel: %+v, %v", a, err)
	}
	if _, cancel, err := c.Report(ctx, r.Action.ID, kapi.Report{Fence: r.Fence, Status: ptr(kapi.StatusFailed), State: ptr("stopped")}); err != nil || !cancel {
		t.Errorf("the end: %v, %v", cancel, err)
	}
	var not *kapi.NotCancellableError
	if _, err := c.Cancel(ctx, r.Action.ID, ""); !errors.As(err, &not) {
		t.Errorf("cancel of a failed one: %v", err)
	}
	if a, err := c.Dismiss(ctx, r.Action.ID, ""); err != nil || a.State != "stopped" {
		t.Errorf("dismiss: %+v, %v", a, err)
	}
	if _, err := c.Get(ctx, r.Action.ID); !errors.Is(err, kapi.ErrUnknown) {
		t.Errorf("get: %v", err)
	}
}

// Invalid UTF-8 is not sent, because JSON could make two keys the same.
func TestStartRefusesWhatIsNoUnicode(t *testing.T) {
	h := newHost(t)
	c := h.client("admin")
	for _, s := range []struct {
		kapi.Spec
		key string
	}{
		{kapi.Spec{Title: "t", Keys: []string{"a", "/srv/caf\xe9"}}, ""},
		{kapi.Spec{Title: "caf\xe9"}, ""},
		{kapi.Spec{Title: "t", Description: "\xff"}, ""},
		{kapi.Spec{Title: "t"}, "\xff"},
	} {
		_, err := c.Start(t.Context(), s.Spec, s.key)
		var invalid *kapi.InvalidError
		if !errors.As(err, &invalid) || !strings.HasPrefix(invalid.Reason, "is not valid UTF-8: byte ") {
			t.Errorf("%+v: %v", s, err)
		}
	}
	if all, err := c.List(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("%+v, %v", all, err)
	}
}

// Padding that files and variables add to a token is not sent. Characters that no token has are refused,
// without quoting the token.
func TestTokens(t *testing.T) {
	sent := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent = r.Header.Get("Authorization")
		_, _ = io.WriteString(w, "[]")
	}))
	defer s.Close()
	for _, c := range []struct{ token, sent, refused string }{
		{"a.b.c", "Bearer a.b.c", ""},
		{"a.b.c\n", "Bearer a.b.c", ""},
		{"a.b.c\r\n", "Bearer a.b.c", ""},
		{" \ta.b.c ", "Bearer a.b.c", ""},
		{"\uFEFFa.b.c\r\n", "Bearer a.b.c", ""},
		{"Bearer \uFEFFa.b.c\n", "Bearer a.b.c", ""},
		{"\u00a0a.b.c", "Bearer a.b.c", ""},
		{"Bearer a.b.c", "Bearer a.b.c", ""},
		{"bearer  a.b.c\r\n", "bearer a.b.c", ""},
		{"Bot\ta.b.c\n", "Bot a.b.c", ""},
		{"bearer", "", "is missing after bearer"},
		{"", "", ""},
		{" \r\n", "", ""},
		{"se cret", "", "has a space or a line end in it"},
		{"se\ncret", "", "has a space or a line end in it"},
		{"Bearer Bearer secret", "", "has a space or a line end in it"},
		{"secr\x00et", "", "has a character in it that is not printable ASCII"},
		{"secrét", "", "has a character in it that is not printable ASCII"},
		{"\xff\xfesecret", "", "has a character in it that is not printable ASCII"},
		{`"secret"`, "", "begins with a quotation mark"},
	} {
		k, err := client.New(s.URL, c.token, client.Options{})
		if c.refused != "" {
			var invalid *kapi.InvalidError
			if !errors.As(err, &invalid) || err.Error() != "token "+c.refused {
				t.Errorf("%q: %v, want %s", c.token, err, c.refused)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.token, err)
			continue
		}
		if _, err := k.List(t.Context()); err != nil || sent != c.sent {
			t.Errorf("%q: sent %q (%v), want %q", c.token, sent, err, c.sent)
		}
		_ = k.Close()
	}
}

// An answer whose keys or ids would be altered is refused.
func TestAnswersThatAreNoUnicode(t *testing.T) {
	for _, key := range []string{"caf\xe9", `caf\ud800`} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `[{"id":"x","title":"t","status":3,"keys":["`+key+`"]}]`)
		}))
		c, err := client.New(s.URL, "", client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		all, err := c.List(t.Context())
		if !errors.Is(err, kapi.ErrUnavailable) || !strings.Contains(err.Error(), "the answer is not valid U") {
			t.Errorf("%q: %+v, %v", key, all, err)
		}
		_ = c.Close()
		s.Close()
	}
}

func TestErrors(t *testing.T) {
	h := newHost(t)
	for token, want := range map[string]error{
		"": auth.ErrNoToken, "wrong": auth.ErrInvalidToken, "expired": auth.ErrExpiredToken, "plain": auth.ErrForbidden,
	} {
		if _, err := h.client(token).List(t.Context()); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", token, err, want)
		}
	}
	r, err := h.client("admin").Start(t.Context(), kapi.Spec{Title: "t"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.client("admin").Report(t.Context(), r.Action.ID, kapi.Report{Fence: r.Fence + 9}); !errors.Is(err, kapi.ErrStaleFence) {
		t.Errorf("stale: %v", err)
	}
	h.stop()
	if _, err := h.client("admin").List(t.Context()); !errors.Is(err, kapi.ErrUnavailable) {
		t.Errorf("away: %v", err)
	}
	var invalid *kapi.InvalidError
	for _, address := range []string{"", "kapi.example", "ftp://x", "http://", "http://u:p@x", "http://x?y", "http://x\x7f"} {
		if _, err := client.New(address, "", client.Options{}); !errors.As(err, &invalid) {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// A watch continues after a restart of the server, without a gap.
func TestWatchOverRestart(t *testing.T) {
	h := newHost(t)
	c := h.client("admin")
	before, err := c.Start(t.Context(), kapi.Spec{Title: "before"}, "")
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if len(w.Snapshot) != 1 || w.Snapshot[0].ID != before.Action.ID {
		t.Errorf("snapshot %+v", w.Snapshot)
	}
	next := func(id string, status kapi.Status) {
		t.Helper()
		a, err := w.Next(kapitest.Within(t))
		if err != nil || a.ID != id || a.Status != status {
			t.Fatalf("told %+v, %v; want %s %v", a, err, id, status)
		}
	}
	second, err := c.Start(t.Context(), kapi.Spec{Title: "second"}, "")
	if err != nil {
		t.Fatal(err)
	}
	next(second.Action.ID, kapi.StatusRunning)
	h.stop()
	h.start()
	// This ends while the watch may still be away.
	for _, r := range []kapi.Remote{before, second} {
		if _, _, err := c.Report(t.Context(), r.Action.ID, kapi.Report{Fence: r.Fence, Status: ptr(kapi.StatusCompleted)}); err != nil {
			t.Fatal(err)
		}
		next(r.Action.ID, kapi.StatusCompleted)
	}
	w.Close()
	if _, err := w.Next(t.Context()); !errors.Is(err, kapi.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestWatchRefused(t *testing.T) {
	h := newHost(t)
	for token, want := range map[string]error{"wrong": auth.ErrInvalidToken, "plain": auth.ErrForbidden} {
		if _, err := h.client(token).Watch(t.Context()); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", token, err, want)
		}
	}
}
