package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/client"
	"github.com/kettubot/kapi/internal/fault"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/supervise"
	"github.com/kettubot/kapi/internal/wellformed"
)

// A place has the actions that a command works on: it is a store that this process joins, or a server.
// Each command is written once, for both.
type place interface {
	List(context.Context) ([]kapi.Action, error)
	Get(ctx context.Context, id string) (kapi.Action, error)
	Dismiss(ctx context.Context, id, by string) (kapi.Action, error)
	Cancel(ctx context.Context, id, by string) (kapi.Action, error)
	GiveUp(ctx context.Context, id, by string) (kapi.Action, error)
	Pause(ctx context.Context, id, by string) (kapi.Action, error)
	Unpause(ctx context.Context, id, by string) (kapi.Action, error)
	// Offers returns the operations that can be started.
	Offers(context.Context) ([]kapi.Offer, error)
	StartOperation(ctx context.Context, name string, arguments json.RawMessage, o kapi.StartOptions) (kapi.Started, error)
	// refreshHeard updates HeardAt of the runners of the actions.
	refreshHeard(context.Context, []kapi.Action) error
	// follow returns the ongoing actions, and then every change.
	follow(context.Context) (now []kapi.Action, changes changes, err error)
	// do starts an action, runs its operation and reports its end, as peer.Peer.Do does.
	do(context.Context, kapi.Spec, kapi.Operation) error
	// expect sets how the processes of the next do are recognised.
	expect(proc.Work)
	// recordWork records the processes of an action that this process runs.
	recordWork(ctx context.Context, id string, w proc.Work) error
	// lockWork returns a file that shows others, while any process has it open, that work of this process
	// is still being done; nil if there is none.
	lockWork() *os.File
	// quiesce calls f at a moment when stopping this process (Ctrl-Z) holds up no other.
	quiesce(f func())
	// String names the place as its flag does.
	String() string
	// close leaves the place. A do that is waiting to report an end gives up.
	close()
}

// changes is a *peer.Watch or a *client.Watch.
type changes interface {
	Next(context.Context) (kapi.Action, error)
	Close()
}

// terms are the options of a place.
type terms struct {
	// log receives errors that no call returns. It may be nil: only kapi serve has a log, other commands
	// print the errors that are returned to them.
	log *slog.Logger
	// endTimeout is how long do tries to report an end; 0 is without limit.
	endTimeout time.Duration
	// retrying is called when a start is tried again, with the time for which that is done.
	retrying func(err error, within time.Duration)
	// reporting is called when reports on an action can't be delivered, and with nil when they can again.
	reporting func(id string, err error)
}

// with opens the place that the flags name, calls f and closes the place. Ctrl-Z is delayed while stopping
// this process would hold up others.
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
	c, err := client.New(a.server, a.token, client.Options{EndTimeout: t.endTimeout, Retrying: t.retrying, Reporting: t.reporting})
	if err != nil {
		return nil, err
	}
	if host := readableOnTheWay(a.server); host != "" && a.token != "" {
		a.eprintf("warning: the token is sent to %s over http, so anyone on the way can read it; use https://", host)
	}
	return &remote{c, a.server, a.faults}, nil
}

// readableOnTheWay returns the host of a server if requests to it cross a network without TLS, "" otherwise.
func readableOnTheWay(server string) string {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" {
		return ""
	}
	host := u.Hostname()
	name := strings.TrimSuffix(strings.ToLower(host), ".")
	// RFC 6761, 6.3: names under localhost mean this machine, too.
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() || name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return ""
	}
	return host
}

// take stores the flags that name the place. A flag on the command line overrides the variable of another
// flag; KAPI_SERVER overrides KAPI_STORE.
func (a *app) take(c *cli, given map[string]bool) error {
	a.store, a.server, a.token = wellformed.Trim(c.Store), wellformed.Trim(c.Server), wellformed.Trim(c.Token_)
	a.storeSchema, a.storeListen, a.storeTimeout = c.StoreSchema, wellformed.Trim(c.StoreListen), c.StoreTimeout
	a.given = given
	if a.storeTimeout <= 0 {
		return usage("--store-timeout must be more than 0")
	}
	named := ""
	for _, flag := range [][2]string{{"store-listen", a.storeListen}, {"store-schema", a.storeSchema}, {"store", a.store}} {
		if given[flag[0]] && flag[1] != "" {
			named = flag[0]
		}
	}
	switch {
	case named != "" && a.server != "" && given["server"]:
		return usage("--server and --%s can't be combined", named)
	case named != "":
		a.server = ""
	case a.server != "":
		a.store, a.storeSchema, a.storeListen = "", "", ""
	}
	if a.server == "" && a.token != "" && given["token"] {
		return usage("--token is for a server, and none is given: add --server URL, or omit --token, as a store needs none")
	}
	return nil
}

// onTheLine returns the names of the flags that are on the command line.
func onTheLine(ctx *kong.Context) map[string]bool {
	given := map[string]bool{}
	for _, path := range ctx.Path {
		if path.Flag != nil && !path.Resolved {
			given[path.Flag.Name] = true
		}
	}
	return given
}

// storeOnly returns an error if a server is given to a command that works on the store itself.
func (a *app) storeOnly(what string) error {
	switch {
	case a.server == "":
		return nil
	case a.given["server"]:
		return usage("kapi %s works on a store: omit --server", what)
	}
	return usage("kapi %s works on a store, but KAPI_SERVER names a server: add --store, or --server ''", what)
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

func (s *session) recordWork(ctx context.Context, id string, w proc.Work) error {
	return s.RecordWork(ctx, id, w)
}

func (s *session) lockWork() *os.File {
	if s, ok := s.store.(interface{ LockWork() *os.File }); ok {
		return s.LockWork()
	}
	return nil
}

func (s *session) do(ctx context.Context, spec kapi.Spec, op kapi.Operation) error {
	return s.Do(ctx, spec, op)
}

// A remote is a place on a server.
type remote struct {
	*client.Client
	address string
	faults  *fault.Net
}

func (r *remote) String() string { return r.address }

func (r *remote) close() { _ = r.Close() }

func (r *remote) quiesce(f func()) { f() }

func (r *remote) expect(proc.Work) {}

// recordWork records nothing: a server knows a process only by its reports, and can prove nothing of it.
func (r *remote) recordWork(context.Context, string, proc.Work) error { return errors.ErrUnsupported }

func (r *remote) lockWork() *os.File { return nil }

func (r *remote) follow(ctx context.Context) ([]kapi.Action, changes, error) {
	w, err := r.Watch(ctx)
	if err != nil {
		return nil, nil, err
	}
	return w.Snapshot, w, nil
}

func (r *remote) do(ctx context.Context, spec kapi.Spec, op kapi.Operation) error {
	return r.Do(fault.With(ctx, r.faults), spec, op)
}
