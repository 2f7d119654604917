package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/client"
	"github.com/kettubot/kapi/internal/fault"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/progress"
	"github.com/kettubot/kapi/internal/supervise"
)

// A place is where the actions are that a command is about: a store that this process joins,
// or a server. Each command is written once, over this.
type place interface {
	List(context.Context) ([]kapi.Action, error)
	Dismiss(ctx context.Context, id, by string) (kapi.Action, error)
	Cancel(ctx context.Context, id, by string) (kapi.Action, error)
	GiveUp(ctx context.Context, id, by string) (kapi.Action, error)
	// hear brings up to date when the runners of the actions were last heard.
	hear(context.Context, []kapi.Action) error
	// follow begins to watch: what is ongoing, and then every change.
	follow(context.Context) (now []kapi.Action, changes changes, err error)
	// do starts an action, runs its operation and reports its end, as kapi.Peer.Do.
	do(context.Context, kapi.Spec, operation) error
	// expect says by what the processes of the next do are recognised.
	expect(proc.Work)
	// quiesce calls f when stopping this process (Ctrl-Z) is in nobody's way.
	quiesce(f func())
	// String names the place as its flag does.
	String() string
	// close lets go of it. A do that waits to report an end gives up.
	close()
}

// changes are a *kapi.Watch or a *client.Watch.
type changes interface {
	Next(context.Context) (kapi.Action, error)
	Close()
}

// A handle is what an operation reports through.
type handle interface {
	ID() string
	Fence() uint64
	Dismissed() []kapi.Action
	SetExitCode(int)
	RecordWork(context.Context, proc.Work) error
	progress.Reporter
}

type operation = func(context.Context, handle) error

// Terms are what a command asks of its place.
type terms struct {
	// log takes what goes wrong behind the scenes; nil: nothing does. kapi's own log is for
	// servers: what goes wrong with a command is returned.
	log *slog.Logger
	// endTimeout is for how long do tries to report an end.
	endTimeout time.Duration
	// reporting is told when reports can't be made, and with nil when they can again.
	reporting func(id string, err error)
}

// with goes to the place that the flags name, for as long as f takes. Ctrl-Z is put off while
// this process is in others' way.
func (a *app) with(ctx context.Context, f func(place) error) error {
	p, err := a.place(ctx, terms{})
	if err != nil {
		return err
	}
	defer supervise.HoldStops(p.quiesce)()
	defer p.close()
	return f(p)
}

func (a *app) place(ctx context.Context, t terms) (place, error) {
	p, err := a.placeOf(fault.With(ctx, a.faults), t)
	if err == nil && a.around != nil {
		p = a.around(p)
	}
	return p, err
}

func (a *app) placeOf(ctx context.Context, t terms) (place, error) {
	if a.server == "" {
		s, err := a.open(ctx, t)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	if a.store != os.Getenv("KAPI_STORE") { // a flag; the variable only says what is usual
		return nil, usage("--server and --store exclude each other")
	}
	c, err := client.New(a.server, a.token, client.Options{EndTimeout: t.endTimeout, Reporting: t.reporting})
	if err != nil {
		return nil, err
	}
	return &remote{c, a.server, a.faults}, nil
}

// storeOnly refuses a server for what is done on the store itself.
func (a *app) storeOnly(what string) error {
	if a.server != "" {
		return usage("kapi %s works on a store: leave --server out", what)
	}
	return nil
}

func (s *session) String() string { return storeName(s.store) }

func (s *session) quiesce(f func()) { s.store.Quiesce(f) }

func (s *session) expect(w proc.Work) { s.ExpectWork(w) }

func (s *session) follow(ctx context.Context) ([]kapi.Action, changes, error) {
	w, err := s.Watch(ctx)
	if err != nil {
		return nil, nil, err
	}
	return w.Snapshot, w, nil
}

func (s *session) do(ctx context.Context, spec kapi.Spec, op operation) error {
	return s.Do(ctx, spec, func(ctx context.Context, h *kapi.Handle) error { return op(ctx, h) })
}

// A remote is a server.
type remote struct {
	*client.Client
	address string
	faults  *fault.Net
}

func (r *remote) String() string { return r.address }

func (r *remote) close() { _ = r.Close() }

func (r *remote) quiesce(f func()) { f() }

// expect does nothing, as remoteHandle.RecordWork.
func (r *remote) expect(proc.Work) {}

func (r *remote) follow(ctx context.Context) ([]kapi.Action, changes, error) {
	w, err := r.Watch(ctx)
	if err != nil {
		return nil, nil, err
	}
	return w.Snapshot, w, nil
}

func (r *remote) do(ctx context.Context, spec kapi.Spec, op operation) error {
	start := client.Start{
		Title: spec.Title, Description: spec.Description, Keys: spec.Keys,
		ReleaseOnFailure: spec.ReleaseOnFailure, DismissFailed: spec.DismissFailed,
		Wait: spec.Wait, Within: spec.Within,
	}
	return r.Do(fault.With(ctx, r.faults), start, func(ctx context.Context, h *client.Handle) error { return op(ctx, remoteHandle{h}) })
}

type remoteHandle struct{ *client.Handle }

// SetExitCode does nothing: a report over REST has no field for it, the state tells it.
func (remoteHandle) SetExitCode(int) {}

// RecordWork records nothing: nothing can be proven of a process that a server knows by its reports.
func (remoteHandle) RecordWork(context.Context, proc.Work) error { return errors.ErrUnsupported }
