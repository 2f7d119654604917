package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/client"
	"github.com/kettubot/kapi/internal/kapitest"
)

// awaitAction waits until the host's peer has the action as want says.
func (h *host) awaitAction(id string, want func(kapi.Action) bool) kapi.Action {
	h.t.Helper()
	var a kapi.Action
	kapitest.Eventually(h.t, "it is as wanted", func() bool {
		var err error
		if a, err = h.peer.Get(h.t.Context(), id); err != nil {
			h.t.Fatal(err)
		}
		return want(a)
	}, func() string {
		return fmt.Sprintf("%+v", a)
	})
	return a
}

func TestDo(t *testing.T) {
	h := newHost(t)
	w, err := h.peer.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var id string
	err = h.client("admin").Do(t.Context(), kapi.Spec{Title: "T", Keys: []string{"k"}}, func(ctx context.Context, op kapi.Handle) error {
		id = op.ID()
		if op.Fence() == 0 || op.Action().Title != "T" || len(op.Dismissed()) != 0 || ctx.Err() != nil {
			t.Errorf("begins with fence %d, %+v", op.Fence(), op.Action())
		}
		op.SetProgress(0.5)
		op.SetProgress(0.2)
		op.SetState("half")
		h.awaitAction(id, func(a kapi.Action) bool { return a.Progress != nil && *a.Progress == 0.5 && a.State == "half" })
		op.ResetProgress()
		op.SetProgress(0.1)
		h.awaitAction(id, func(a kapi.Action) bool { return a.Progress != nil && *a.Progress == 0.1 })
		if err := op.Impacted("slow"); err != nil {
			t.Error(err)
		}
		if a := h.awaitAction(id, func(kapi.Action) bool { return true }); a.Status != kapi.StatusImpacted || a.State != "slow" {
			t.Errorf("impacted: %+v", a)
		}
		if err := op.Recovered(); err != nil {
			t.Error(err)
		}
		if a := h.awaitAction(id, func(kapi.Action) bool { return true }); a.Status != kapi.StatusRunning || a.State != "half" {
			t.Errorf("recovered: %+v", a)
		}
		op.SetProgress(2)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for {
		a, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if a.Status == kapi.StatusCompleted {
			if a.ID != id || *a.Progress != 1 {
				t.Errorf("ended as %+v", a)
			}
			return
		}
	}
}

func TestDoFails(t *testing.T) {
	h := newHost(t)
	c := h.client("admin")
	oops := errors.New("oops")
	fail := func(context.Context, kapi.Handle) error { return oops }
	start := kapi.Spec{Title: "T", Keys: []string{`a"key`}}
	if err := c.Do(t.Context(), start, fail); !errors.Is(err, oops) {
		t.Errorf("returns %v", err)
	}
	var held *kapi.HeldError
	if err := c.Do(t.Context(), start, fail); !errors.As(err, &held) || held.Key != `a"key` || held.Holder.State != "oops" || held.Holder.NotProvenDead {
		t.Errorf("the key is kept: %v", err)
	}
	start.DismissFailed = true
	err := c.Do(t.Context(), start, func(_ context.Context, op kapi.Handle) error {
		if d := op.Dismissed(); len(d) != 1 || d[0].ID != held.Holder.ID {
			t.Errorf("dismissed %+v", d)
		}
		panic("at the disco")
	})
	if err == nil || !strings.Contains(err.Error(), "panic: at the disco") {
		t.Errorf("a panic: %v", err)
	}
	all, err := c.List(t.Context())
	if err != nil || len(all) != 1 || all[0].State != "panic: at the disco" {
		t.Errorf("on the list: %+v, %v", all, err)
	}
}

// The host is this machine's name, unless another is named; an exit code goes with the end.
func TestDoSaysWhereAndHow(t *testing.T) {
	h := newHost(t)
	c := h.client("admin")
	here, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for host, spec := range map[string]kapi.Spec{here: {Title: "T"}, "ci-7": {Title: "T", Host: "ci-7"}} {
		var id string
		_ = c.Do(t.Context(), spec, func(_ context.Context, op kapi.Handle) error {
			id = op.ID()
			op.SetExitCode(7)
			op.SetExitCode(-1)      // of exec.Cmd, for what a signal ended: no server takes it
			op.SetState("going on") // a code that came along would have this report refused
			if a := h.awaitAction(id, func(a kapi.Action) bool { return a.State == "going on" }); a.ExitCode != nil || a.Runner.Host != host {
				t.Errorf("while it goes on: %+v on %+v, want %s", a, a.Runner, host)
			}
			return errors.New("oops")
		})
		if a := h.awaitAction(id, func(a kapi.Action) bool { return a.Status == kapi.StatusFailed }); a.ExitCode == nil || *a.ExitCode != 7 {
			t.Errorf("ended as %+v", a)
		}
	}
	var invalid *kapi.InvalidError
	for _, host := range []string{"a\nb", "a\xffb"} {
		if err := c.Do(t.Context(), kapi.Spec{Title: "T", Host: host}, nil); !errors.As(err, &invalid) || invalid.Field != "host" {
			t.Errorf("host %q: %v", host, err)
		}
	}
}

// If a cancelled operation gives no reason, the state says who cancelled it.
func TestDoCancelledSaysByWhom(t *testing.T) {
	h := newHost(t)
	var id string
	_ = h.client("admin").Do(t.Context(), kapi.Spec{Title: "T"}, func(ctx context.Context, op kapi.Handle) error {
		id = op.ID()
		if _, err := h.peer.Cancel(ctx, id, "ada"); err != nil {
			t.Error(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(kapitest.Patience):
		}
		return ctx.Err()
	})
	h.awaitAction(id, func(a kapi.Action) bool { return a.Status == kapi.StatusFailed && a.State == "cancelled by ada" })
}

// Whatever means that the work must stop ends the operation's context, with the cause.
func TestDoContextEnds(t *testing.T) {
	h := newHost(t)
	ctx, cancel := context.WithCancel(t.Context())
	var cancelled *kapi.CancelledError
	for name, tt := range map[string]struct {
		happens func(kapi.Handle) error
		cause   func(error) bool
	}{
		"cancelled": {
			func(op kapi.Handle) error { _, err := h.peer.Cancel(ctx, op.ID(), "ada"); return err },
			func(err error) bool { return errors.As(err, &cancelled) && cancelled.By == "ada" },
		},
		"ended by another": {
			func(op kapi.Handle) error {
				_, err := h.peer.Report(ctx, op.ID(), kapi.Report{Fence: op.Fence(), Status: ptr(kapi.StatusCompleted)})
				return err
			},
			func(err error) bool { return errors.Is(err, kapi.ErrLost) },
		},
		"its caller gave up": {
			func(kapi.Handle) error { cancel(); return nil },
			func(err error) bool { return errors.Is(err, context.Canceled) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel = context.WithCancel(t.Context())
			defer cancel()
			_ = h.client("admin").Do(ctx, kapi.Spec{Title: "T"}, func(ctx context.Context, op kapi.Handle) error {
				if err := tt.happens(op); err != nil {
					t.Error(err)
				}
				select {
				case <-ctx.Done():
				case <-time.After(kapitest.Patience):
				}
				if cause := context.Cause(ctx); !tt.cause(cause) {
					t.Errorf("the cause is %v", cause)
				}
				return context.Cause(ctx)
			})
		})
	}
}

// An operation continues while the server is away, and everything that it reported is there afterwards.
func TestDoOverOutage(t *testing.T) {
	h := newHost(t)
	reporting := make(chan error, 8)
	c, err := client.New("http://"+h.address, "admin", client.Options{Reporting: func(_ string, err error) { reporting <- err }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Do(t.Context(), kapi.Spec{Title: "T"}, func(_ context.Context, op kapi.Handle) error {
		h.stop()
		op.SetState("said meanwhile")
		if err := <-reporting; !errors.Is(err, kapi.ErrUnavailable) {
			t.Errorf("Reporting is called for the loss with %v", err)
		}
		h.start()
		if err := <-reporting; err != nil {
			t.Errorf("Reporting is called for the return with %v", err)
		}
		h.awaitAction(op.ID(), func(a kapi.Action) bool { return a.State == "said meanwhile" })
		h.stop()
		time.AfterFunc(time.Second, func() { _ = c.Close() }) // until then the end is tried again
		return nil
	})
	if !errors.Is(err, kapi.ErrUnavailable) {
		t.Errorf("the end was taken by nobody, and Do returns %v", err)
	}
}

// A connection that is lost before the start was sent is no reason to give up on the server.
func TestDoOverBadNetwork(t *testing.T) {
	h := newHost(t)
	lossy := &lossyTransport{losses: 2}
	c, err := client.New("http://"+h.address, "admin", client.Options{HTTP: &http.Client{Transport: lossy}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	done := false
	err = c.Do(t.Context(), kapi.Spec{Title: "T"}, func(context.Context, kapi.Handle) error {
		done = true
		return nil
	})
	if err != nil || !done || lossy.losses != 0 {
		t.Errorf("done: %t, %d losses to come, returns %v", done, lossy.losses, err)
	}
}

// A lossyTransport loses its first connections.
type lossyTransport struct {
	http.Transport
	losses int
}

func (l *lossyTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if l.losses == 0 {
		return l.Transport.RoundTrip(r)
	}
	l.losses--
	httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{})
	return nil, errors.New("connection lost")
}

// A waiting action gets its turn when the key is free, with a new fence.
func TestDoWaits(t *testing.T) {
	h := newHost(t)
	c := h.client("admin")
	ctx := kapitest.Within(t)
	held, release := make(chan uint64, 1), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		first <- c.Do(ctx, kapi.Spec{Title: "first", Keys: []string{"k"}}, func(_ context.Context, op kapi.Handle) error {
			held <- op.Fence()
			<-release
			return nil
		})
	}()
	fence := <-held
	var refused *kapi.HeldError
	err := c.Do(ctx, kapi.Spec{Title: "impatient", Keys: []string{"k"}, Wait: 100 * time.Millisecond}, func(context.Context, kapi.Handle) error {
		t.Error("it ran beside another")
		return nil
	})
	if !errors.As(err, &refused) || refused.Holder.Title != "first" || refused.Waited == 0 {
		t.Errorf("who waited too short: %v", err)
	}
	leaving, leave := context.WithCancelCause(ctx)
	tired := errors.New("tired")
	time.AfterFunc(300*time.Millisecond, func() { leave(tired) })
	err = c.Do(leaving, kapi.Spec{Title: "leaves", Keys: []string{"k"}, Wait: -1}, func(context.Context, kapi.Handle) error {
		t.Error("it ran beside another")
		return nil
	})
	if !errors.Is(err, tired) {
		t.Errorf("who left: %v", err)
	}
	if all, err := c.List(ctx); err != nil || len(all) != 1 {
		t.Errorf("%+v are left, %v", all, err)
	}
	time.AfterFunc(2*time.Second, func() { close(release) }) // by then it listens on the gateway
	began := time.Now()
	err = c.Do(ctx, kapi.Spec{Title: "second", Keys: []string{"k"}, Wait: -1}, func(_ context.Context, op kapi.Handle) error {
		if op.Fence() <= fence {
			t.Errorf("the fence went from %d to %d", fence, op.Fence())
		}
		op.SetProgress(1)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	t.Logf("it was its turn after %v", time.Since(began))
	if err := <-first; err != nil {
		t.Error(err)
	}
	if all, err := c.List(ctx); err != nil || len(all) != 0 {
		t.Errorf("%+v are left, %v", all, err)
	}
}
