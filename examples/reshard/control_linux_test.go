package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/client"
	"github.com/kettubot/kapi/peer"
	rest "github.com/kettubot/kapi/server"
)

// patience bounds every wait of the tests.
const patience = time.Minute

// A control is an admin's: a client of REST and the gateway, at a server that offers no operation. It notes all that the
// gateway sends.
type control struct {
	*client.Client
	mu      sync.Mutex
	updates []kapi.Action
}

func newControl(t *testing.T, store string, o peer.Options) *control {
	t.Helper()
	s, err := openStore(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	o.Logger = slog.New(slog.DiscardHandler)
	p, err := peer.Open(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	admin := func(*http.Request) (auth.Identity, error) {
		return auth.Identity{ID: "ann", Name: "ann", Permissions: auth.Admin}, nil
	}
	web := httptest.NewServer(rest.New(p, rest.Options{Authenticate: admin, Logger: o.Logger, RateLimit: -1, RateLimitAddress: -1}))
	c := &control{}
	if c.Client, err = client.New(web.URL, "any", client.Options{}); err != nil {
		t.Fatal(err)
	}
	watch, err := c.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			a, err := watch.Next(context.Background())
			if err != nil {
				return
			}
			c.mu.Lock()
			c.updates = append(c.updates, a)
			c.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		watch.Close()
		<-over
		_ = c.Close()
		_ = p.Close()
		web.Close()
	})
	return c
}

// offered waits until a process offers the operation.
func (c *control) offered(t *testing.T) {
	t.Helper()
	eventually(t, patience, func() error {
		offers, err := c.Offers(t.Context())
		if err == nil && !slices.ContainsFunc(offers, func(o kapi.Offer) bool { return o.Name == "reshard" && o.Offered }) {
			err = fmt.Errorf("nobody offers it: %+v", offers)
		}
		return err
	})
}

// begin starts a resharding at a peer that doesn't offer it, once another one does.
func (c *control) begin(t *testing.T, arguments json.RawMessage) (id string) {
	t.Helper()
	c.offered(t)
	started, err := c.StartOperation(t.Context(), "reshard", arguments, kapi.StartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return started.Action.ID
}

// await waits until the newest update of an action is as wanted.
func (c *control) await(t *testing.T, id, what string, is func(a kapi.Action) bool) (a kapi.Action) {
	t.Helper()
	eventually(t, patience, func() error {
		if a = c.newest(id); !is(a) {
			return fmt.Errorf("want it %s: %+v", what, a)
		}
		return nil
	})
	return a
}

func ended(a kapi.Action) bool { return a.Status != kapi.StatusPending && !a.Status.Ongoing() }

// at is true while the process runs an action, and after its end.
func at(p *process) func(a kapi.Action) bool {
	return func(a kapi.Action) bool {
		return ended(a) || a.Status == kapi.StatusRunning && a.Runner != nil && a.Runner.PID == p.Process.Pid
	}
}

// newest returns the last update of an action.
func (c *control) newest(id string) (a kapi.Action) {
	if all := c.history(id); len(all) > 0 {
		a = all[len(all)-1]
	}
	return a
}

// history returns all updates of an action.
func (c *control) history(id string) (all []kapi.Action) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.updates {
		if a.ID == id {
			all = append(all, a)
		}
	}
	return all
}

// checkEnd checks what the gateway's client saw of a resharding: it went on under one id, never failed, its progress
// never fell, and it completed.
func (c *control) checkEnd(t *testing.T, id string) (last kapi.Action) {
	t.Helper()
	last = c.await(t, id, "completed", ended)
	if last.Status != kapi.StatusCompleted {
		t.Errorf("it ended as %+v", last)
	}
	progress := 0.0
	for _, a := range c.history(id) {
		switch {
		case a.Status == kapi.StatusFailed:
			t.Errorf("it failed: %+v", a)
		case a.Progress == nil && progress > 0 || a.Progress != nil && *a.Progress < progress:
			t.Errorf("the progress went from %v to %v", progress, a.Progress)
		case a.Progress != nil && *a.Progress > progress:
			progress = *a.Progress
		}
	}
	if progress != 1 {
		t.Errorf("the progress ends at %v", progress)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := map[string]bool{}
	for _, a := range c.updates[slices.IndexFunc(c.updates, func(a kapi.Action) bool { return a.ID == id }):] {
		ids[a.ID] = true
	}
	if len(ids) != 1 {
		t.Errorf("since it was started there were the actions %v", ids)
	}
	return last
}
