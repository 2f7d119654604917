package gateway

import (
	"container/list"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/conns"
	"github.com/kettubot/kapi/internal/origin"
	"github.com/kettubot/kapi/internal/wire"
	"github.com/kettubot/kapi/peer"
)

// Options of New. Only Authenticate is required.
type Options struct {
	// Authenticate says who sent a request. It is called with a copy of the request that opened the
	// connection. If the client identifies with a token, the copy has it as a Bearer token and no
	// cookies; if that is not valid, Authenticate is called again with it as a Bot token. Without a
	// token, the copy has only the cookies. If the token is an auth.Session.Half, the copy has the
	// cookies and the token in auth.SessionHeader.
	//
	// It is called again every 2 seconds while the connection is open: once for all connections with
	// the same headers, with the request of the first. Calls are concurrent. The context of the
	// request ends after 10 seconds, or after 2 when it is called again. Its errors are those of
	// server.Options.Authenticate.
	Authenticate func(*http.Request) (auth.Identity, error)
	// Logger gets errors and, at debug level, every end of a connection. Nil is slog.Default().
	Logger *slog.Logger
	// Heartbeat is the interval in which clients must send heartbeats; 0 is 30 s. A connection is closed
	// when a heartbeat is half an interval overdue. Negative is off: clients are asked for a heartbeat
	// every 30 s, and no connection is closed for lack of one.
	Heartbeat time.Duration
	// IdentifyWithin is how long a client may take to identify or resume; 0 is 15 s, negative is off.
	IdentifyWithin time.Duration
	// DrainWithin is how long a client may take to receive a message; 0 is 30 s, negative is off.
	DrainWithin time.Duration
	// Counters, if set, gets the counts of the gateway.
	Counters *Counters
}

const (
	// maxFrame is the longest message that a client may send.
	maxFrame = 64 << 10
	// perMinute is how many frames a client may send a minute, and at once: messages, their fragments,
	// and control frames.
	perMinute = 120
	// recheckEvery is how often a token is checked again. Together with the time that a check may
	// take, it stays below the 5 seconds that are promised.
	recheckEvery = 2 * time.Second
	// maxUnknown is how many connections may be open that have not identified. If there are more, the
	// oldest of them is closed.
	maxUnknown = 4096
)

// never is the value of a limit that is off. No connection lasts that long.
const never = 100 * 365 * 24 * time.Hour

// limits replaces 0 by the default and negative values by never. It returns how long a client may give no
// sign of life.
func (o *Options) limits() (overdue time.Duration) {
	const heartbeat = 30 * time.Second
	set := func(d *time.Duration, standard time.Duration) {
		switch {
		case *d == 0:
			*d = standard
		case *d < 0:
			*d = never
		}
	}
	set(&o.IdentifyWithin, 15*time.Second)
	set(&o.DrainWithin, 30*time.Second)
	if o.Heartbeat < 0 { // clients are not told to wait for never: it would overflow their timers
		o.Heartbeat = heartbeat
		return never
	}
	set(&o.Heartbeat, heartbeat)
	return o.Heartbeat * 3 / 2
}

// A Gateway serves connections. Its methods may be called concurrently.
type Gateway struct {
	peer     *peer.Peer
	options  Options
	log      *slog.Logger
	counters *Counters
	last     atomic.Pointer[dispatched]
	drains   drains
	checks   checks

	mu       sync.Mutex
	grants   map[string]*grant
	sessions map[*session]struct{}
	unknown  list.List      // sessions that have not identified, oldest first
	most     int            // the limit of unknown
	overdue  time.Duration  // how long a client may give no sign of life
	closed   chan struct{}  // closed by Close
	all      sync.WaitGroup // sessions, rechecks, and the look-out for slow clients
	checking bool
}

// New returns a gateway for a peer, which it doesn't close. It panics without a peer or an
// Authenticate.
func New(p *peer.Peer, o Options) *Gateway {
	if p == nil || o.Authenticate == nil {
		panic("gateway.New needs a peer and Options.Authenticate")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Counters == nil {
		o.Counters = new(Counters)
	}
	overdue := o.limits()
	g := &Gateway{
		peer: p, options: o, log: o.Logger, counters: o.Counters,
		grants: map[string]*grant{}, sessions: map[*session]struct{}{}, closed: make(chan struct{}),
		most: maxUnknown, overdue: overdue,
	}
	g.checks.slots = make(chan struct{}, checksAtOnce)
	g.checks.ctx, g.checks.cancel = context.WithCancel(context.Background())
	g.drains.now.Store(1)
	return g
}

// ServeHTTP opens a connection and returns at once, which frees net/http's resources for the
// request. A request from a page of another origin is refused.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, err := admissible(r)
	if err != nil {
		refuse(w, err)
		return
	}
	if host != "" {
		// The library checks the origin, too, but compares hosts literally. So it gets the host as the
		// browser writes it.
		seen := *r
		seen.Host = host
		r = &seen
	}
	t := &takeover{ResponseWriter: w}
	var s *session
	conn, err := websocket.Accept(t, r, &websocket.AcceptOptions{
		CompressionMode: websocket.CompressionDisabled,
		// The library would cut a client that doesn't receive the pong within 5 seconds.
		OnPingReceived: func(_ context.Context, payload []byte) bool {
			_ = s.pong(payload)
			return false
		},
	})
	if err != nil {
		return // Accept has answered
	}
	conn.SetReadLimit(-1) // the library would close with its own code
	s = newSession(g, conn, t.conn, r)
	conns.Of(r.Context()).OnCrowded(func() { s.end(codeCrowded) })
	if !g.join(s) {
		s.end(wire.CodeRestart)
		s.wait()
		return
	}
	go func() {
		defer g.leave(s)
		s.run()
	}()
}

// admissible returns an error if r is refused before a connection is opened. Otherwise it returns the host
// of the page that sent r, or "" if no page did.
func admissible(r *http.Request) (host string, err error) {
	host, own := origin.Own(r)
	switch {
	case !own:
		return "", wire.CrossOrigin.Because("a proxy that ends TLS must be a trusted one, and send X-Forwarded-Proto")
	case r.ProtoMajor != 1: // there is no connection to take over
		return "", wire.OnlyHTTP1
	}
	for _, encoding := range r.URL.Query()["encoding"] {
		if encoding != "json" {
			return "", wire.BadQuery.About("encoding", fmt.Sprintf("must be json, not %.100q", encoding))
		}
	}
	return host, nil
}

func refuse(w http.ResponseWriter, err error) {
	refusal := wire.Refused(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(refusal.Status)
	_ = json.NewEncoder(w).Encode(refusal)
}

func (g *Gateway) join(s *session) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isClosed() {
		return false
	}
	g.sessions[s] = struct{}{}
	s.place = g.unknown.PushBack(s)
	if g.unknown.Len() > g.most {
		first := g.unknown.Front().Value.(*session)
		g.known(first)
		first.end(codeCrowded)
	}
	g.all.Add(1)
	if !g.drains.looking {
		g.drains.looking = true
		g.all.Add(1)
		go g.lookForSlow()
	}
	g.counters.connections.Add(1)
	return true
}

// identified removes a session from those that are unknown.
func (g *Gateway) identified(s *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known(s)
}

// known does what identified does. It must be called with mu held.
func (g *Gateway) known(s *session) {
	if s.place != nil {
		g.unknown.Remove(s.place)
		s.place = nil
	}
}

// isClosed must be called with mu held.
func (g *Gateway) isClosed() bool {
	select {
	case <-g.closed:
		return true
	default:
		return false
	}
}

func (g *Gateway) leave(s *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.sessions, s)
	g.known(s)
	g.counters.connections.Add(-1)
	g.all.Done()
}

// Close closes all connections with code 4010 (the server restarts), refuses new ones, and waits until
// they have ended or ctx has. Calls after the first only wait.
func (g *Gateway) Close(ctx context.Context) error {
	g.mu.Lock()
	if !g.isClosed() {
		close(g.closed)
		g.checks.cancel()
	}
	for s := range g.sessions {
		s.end(wire.CodeRestart)
	}
	g.mu.Unlock()
	done := make(chan struct{})
	go func() {
		g.all.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
