package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/client"
)

// A place is where the actions are that a command is about: a store that this process joins,
// or a server. Each command is written once, over this.
type place interface {
	List(context.Context) ([]kapi.Action, error)
	Dismiss(ctx context.Context, id, by string) (kapi.Action, error)
	Cancel(ctx context.Context, id, by string) (kapi.Action, error)
	// follow begins to watch: what is ongoing, and then every change.
	follow(context.Context) (now []kapi.Action, changes changes, err error)
	// String names the place as its flag does.
	String() string
	close()
}

// changes are a *kapi.Watch or a *client.Watch.
type changes interface {
	Next(context.Context) (kapi.Action, error)
	Close()
}

// with goes to the place that the flags name, for as long as f takes. kapi's own log is for
// servers: what goes wrong here is returned.
func (a *app) with(ctx context.Context, f func(place) error) error {
	p, err := a.place(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	return f(p)
}

func (a *app) place(ctx context.Context) (place, error) {
	if a.server == "" {
		return a.open(ctx, slog.New(slog.DiscardHandler))
	}
	if a.store != os.Getenv("KAPI_STORE") { // a flag; the variable only says what is usual
		return nil, usage("--server and --store exclude each other")
	}
	c, err := client.New(a.server, a.token, client.Options{})
	if err != nil {
		return nil, err
	}
	return &remote{c, a.server}, nil
}

// storeOnly refuses a server for what is done on the store itself.
func (a *app) storeOnly(what string) error {
	if a.server != "" {
		return usage("kapi %s works on a store: leave --server out", what)
	}
	return nil
}

func (s *session) String() string { return storeName(s.store) }

func (s *session) follow(ctx context.Context) ([]kapi.Action, changes, error) {
	w, err := s.Watch(ctx)
	if err != nil {
		return nil, nil, err
	}
	return w.Snapshot, w, nil
}

// A remote is a server.
type remote struct {
	*client.Client
	address string
}

func (r *remote) String() string { return r.address }

func (r *remote) close() { _ = r.Close() }

func (r *remote) follow(ctx context.Context) ([]kapi.Action, changes, error) {
	w, err := r.Watch(ctx)
	if err != nil {
		return nil, nil, err
	}
	return w.Snapshot, w, nil
}
