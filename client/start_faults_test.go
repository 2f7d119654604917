package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/client"
)

// A dropper loses the answer to the first start.
type dropper struct{ posts atomic.Int32 }

func (d *dropper) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && isStart(r) && d.posts.Add(1) == 1 {
		_ = resp.Body.Close()
		return nil, &net.OpError{Op: "read", Err: io.ErrUnexpectedEOF}
	}
	return resp, err
}

func isStart(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/kapi/actions")
}

// The answer to a start that is repeated says what the first one dismissed.
func TestDismissedByALostStart(t *testing.T) {
	h := newHost(t)
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	h.fail("old", "k")
	lossy := &dropper{}
	c, err := client.New("http://"+h.address, "admin", client.Options{HTTP: &http.Client{Transport: lossy}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Do(t.Context(), kapi.Spec{Title: "T", Keys: []string{"k"}, DismissFailed: true}, func(_ context.Context, op kapi.Handle) error {
		if gone := op.Dismissed(); len(gone) != 1 || gone[0].Title != "old" || gone[0].Status != kapi.StatusFailed {
			t.Errorf("it knows of %+v that were dismissed", gone)
		}
		return nil
	})
	if err != nil || lossy.posts.Load() != 2 {
		t.Errorf("%v after %d starts", err, lossy.posts.Load())
	}
}

// fail leaves an action that has failed, with a text that looks like more.
func (h *host) fail(title string, keys ...string) {
	_ = h.peer.Do(h.t.Context(), kapi.Spec{Title: title, Keys: keys}, func(context.Context, kapi.Handle) error {
		return errors.New("its child was not proven dead")
	})
}

// A hangUp ends a context while the first start is being sent, before or after the server gets it.
type hangUp struct {
	cancel context.CancelFunc
	taken  bool
	once   sync.Once
}

func (u *hangUp) RoundTrip(r *http.Request) (*http.Response, error) {
	first := false
	if isStart(r) {
		u.once.Do(func() { first = true })
	}
	if first && !u.taken {
		httptrace.ContextClientTrace(r.Context()).WroteHeaders()
		u.cancel()
		return nil, r.Context().Err()
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && first {
		_ = resp.Body.Close()
		u.cancel()
		return nil, r.Context().Err()
	}
	return resp, err
}

// A start whose caller gave up while it was being sent is withdrawn, and then dismisses nothing. A runner's
// token may not dismiss the action that is left, so the error names it.
func TestWithdrawn(t *testing.T) {
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for _, tt := range []struct {
		token         string
		dismiss       bool
		taken         bool
		left, tellsOf string // with the keys that are held
	}{
		{"admin", false, false, "old[k]", ""},
		{"admin", false, true, "old[k]", ""},
		{"admin", true, false, "old[k]", ""},
		{"admin", true, true, "", ""},
		{"run", false, false, "old[k] T[]", "never began and is left failed; an admin must dismiss it: not allowed"},
		{"run", false, true, "old[k] T[another]", "never began and is left failed; an admin must dismiss it: not allowed"},
	} {
		h := newHost(t)
		h.fail("old", "k")
		ctx, cancel := context.WithCancel(t.Context())
		c, err := client.New("http://"+h.address, tt.token, client.Options{HTTP: &http.Client{Transport: &hangUp{cancel: cancel, taken: tt.taken}}})
		if err != nil {
			t.Fatal(err)
		}
		spec := kapi.Spec{Title: "T", Keys: []string{"k"}, DismissFailed: tt.dismiss}
		if !tt.dismiss {
			spec.Keys = []string{"another"}
		}
		err = c.Do(ctx, spec, func(context.Context, kapi.Handle) error {
			t.Errorf("%+v: it ran", tt)
			return nil
		})
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), tt.tellsOf) || strings.Contains(err.Error(), "left failed") != (tt.tellsOf != "") {
			t.Errorf("%+v: %v", tt, err)
		}
		all, err := h.client("admin").List(t.Context())
		var left []string
		for _, a := range all {
			left = append(left, a.Title+fmt.Sprint(a.Keys))
		}
		if err != nil || strings.Join(left, " ") != tt.left {
			t.Errorf("%+v: left are %q, %v", tt, left, err)
		}
		_ = c.Close()
	}
}

// A start that is to dismiss is refused for a token that may not dismiss.
func TestDismissFailedNeedsAdmin(t *testing.T) {
	h := newHost(t)
	err := h.client("run").Do(t.Context(), kapi.Spec{Title: "T", Keys: []string{"k"}, DismissFailed: true}, func(context.Context, kapi.Handle) error {
		t.Error("it ran")
		return nil
	})
	if !errors.Is(err, auth.ErrForbidden) || !strings.HasSuffix(err.Error(), "this needs a token with the permission admin") {
		t.Errorf("got %v", err)
	}
	if all, err := h.client("admin").List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
}
