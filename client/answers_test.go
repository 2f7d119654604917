package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/client"
	"github.com/kettubot/kapi/internal/kapitest"
)

// A replacer answers the first report as a server other than kapi would.
type replacer struct{ done atomic.Bool }

func (p *replacer) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && r.Method == http.MethodPatch && !p.done.Swap(true) {
		_ = resp.Body.Close()
		resp.Body = io.NopCloser(strings.NewReader(`["back soon"]`))
	}
	return resp, err
}

// If the answer to a report is not an action, a runner that waits for its turn keeps waiting.
func TestReportAnsweredByAnother(t *testing.T) {
	h := newHost(t)
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	ctx := kapitest.Within(t)
	first, err := h.client("admin").Start(ctx, kapi.Spec{Title: "first", Keys: []string{"k"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	end := kapi.Report{Fence: first.Fence, Status: ptr(kapi.StatusCompleted)}

	c, err := client.New("http://"+h.address, "admin", client.Options{HTTP: &http.Client{Transport: &replacer{}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _, err = c.Report(ctx, first.Action.ID, kapi.Report{Fence: first.Fence})
	if !errors.Is(err, kapi.ErrUnavailable) || !strings.Contains(err.Error(), "the answer is not an action: ") {
		t.Errorf("a report: %v", err)
	}

	strange := &replacer{}
	c, err = client.New("http://"+h.address, "admin", client.Options{HTTP: &http.Client{Transport: strange}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var helper sync.WaitGroup
	helper.Go(func() {
		for !strange.done.Load() && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		if _, err := h.peer.Report(ctx, first.Action.ID, end); err != nil {
			t.Error(err)
		}
	})
	ran := false
	err = c.Do(ctx, kapi.Spec{Title: "second", Keys: []string{"k"}, Wait: -1}, func(context.Context, kapi.Handle) error {
		ran = true
		return nil
	})
	if err != nil || !ran || !strange.done.Load() {
		t.Errorf("ran: %v, %v", ran, err)
	}
	helper.Wait()
}

// With an error the zero value is returned, not the part of an answer that could be read.
func TestNothingBesideAnError(t *testing.T) {
	const half = `{"id":"x","status":3,"title":"t","seq":"many"}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/failed/dismiss"):
			w.WriteHeader(http.StatusConflict)
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/failed"):
			_, _ = io.WriteString(w, `{"id":"failed","status":3,"title":"t"}`)
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/actions"):
			_, _ = io.WriteString(w, "["+half+"]")
		case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/actions"):
			_, _ = io.WriteString(w, `{"fence":7,"action":`+half+`}`)
		default:
			_, _ = io.WriteString(w, half)
		}
	}))
	defer s.Close()
	c, err := client.New(s.URL, "", client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	for name, call := range map[string]func() (any, error){
		"list":    func() (any, error) { return c.List(ctx) },
		"get":     func() (any, error) { return c.Get(ctx, "x") },
		"dismiss": func() (any, error) { return c.Dismiss(ctx, "failed", "") },
		"unread":  func() (any, error) { return c.Dismiss(ctx, "x", "") },
		"cancel":  func() (any, error) { return c.Cancel(ctx, "x", "") },
		"give up": func() (any, error) { return c.GiveUp(ctx, "x", "") },
		"start":   func() (any, error) { return c.Start(ctx, kapi.Spec{Title: "t"}, "") },
		"report": func() (any, error) {
			a, _, err := c.Report(ctx, "x", kapi.Report{Fence: 7})
			return a, err
		},
	} {
		if got, err := call(); err == nil || !reflect.ValueOf(got).IsZero() {
			t.Errorf("%s: %+v beside %v", name, got, err)
		}
	}
}
