package server

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/gateway"
	"github.com/kettubot/kapi/internal/origin"
	"github.com/kettubot/kapi/internal/wire"
	"github.com/kettubot/kapi/peer"
)

// Options of New. Only Authenticate is required. A limit of 0 is the default; a negative limit is off.
type Options struct {
	// Authenticate says who sent a request. It is called concurrently, for every request except probes
	// and the page's files. It should be cheap for invalid credentials, because the rate limit of a
	// stranger is checked only after it; at most 256 such calls run at once. auth.ErrNoToken,
	// auth.ErrInvalidToken and auth.ErrExpiredToken are answered with 401. Any other error means that
	// the request could not be authenticated now, and is answered with 503. Identities with the same ID
	// share a rate limit. For a request with a session of Page.SignIn it is not called.
	Authenticate func(*http.Request) (auth.Identity, error)
	// Logger gets errors and, at debug level, every request. Nil is slog.Default().
	Logger *slog.Logger
	// RateLimit is how many requests a second an identity may send on average; 0 is 100, negative is off.
	RateLimit float64
	// RateBurst is how many requests an identity may send at once; 0 is twice RateLimit, and at least 1.
	// Negative turns RateLimit off, too.
	RateBurst int
	// RateLimitAddress is how many requests a second a client address may send without a valid token,
	// on average and at once; 0 is 20, negative is off. Probes, the page's files and handshakes of the
	// gateway are not charged. Requests that a browser sends for a page of another origin have a limit
	// of their own with the same rate, by identity or address. Addresses of one IPv6 network (/64)
	// count as one. A proxy in front of this handler must be named in TrustedProxies.
	RateLimitAddress float64
	// Gateway has the options of the gateway. Its Authenticate and Logger are replaced by those above.
	Gateway gateway.Options
	// Page says how the web page is served. The zero Page works for people whom Authenticate knows by a
	// cookie of the embedding program.
	Page Page
	// Metrics, if set, answers GET /metrics for clients with auth.ReadMetrics. Package metrics has such
	// a handler.
	Metrics http.Handler
	// TrustedProxies are the addresses of proxies in front of this handler. For their requests, the
	// client's address is taken from X-Forwarded-For, the scheme that the client used from
	// X-Forwarded-Proto, the host from X-Forwarded-Host if there is one (the last of several), and a
	// path prefix that the proxy strips from X-Forwarded-Prefix.
	TrustedProxies []netip.Prefix
	// Hosts are the host names and addresses that the server answers for, on any port, besides localhost,
	// 127.0.0.1, [::1] and the address that a request came to. Requests for others are answered with 421,
	// even from a trusted proxy. Empty allows any host. A server on loopback needs Hosts: otherwise any web
	// page can make its own name resolve to 127.0.0.1 and have the same origin as the server.
	Hosts []string
	// MaxBody is the maximum length of a request's body in bytes; 0 is 64 KiB, negative is off.
	MaxBody int64
}

const (
	// answerWithin bounds a request, so that one that waits for the store is answered before the client
	// or the HTTP server times out.
	answerWithin = 10 * time.Second
	// readyWithin is shorter than the usual timeouts of probes.
	readyWithin = 900 * time.Millisecond
)

// A Server answers requests. Its methods may be called concurrently.
type Server struct {
	peer     *peer.Peer
	options  Options
	hosts    origin.Hosts
	log      *slog.Logger
	mux      *http.ServeMux
	exact    map[string]*route // by path; mux would find the same, but more slowly
	unrouted *route
	origins  *http.CrossOriginProtection
	door     *door
	gateway  *gateway.Gateway
	links    links
}

// New returns a handler for a peer, which it doesn't close. It panics without a peer or an
// Authenticate, or if one of Hosts is not a host name or address.
func New(p *peer.Peer, o Options) *Server {
	if p == nil || o.Authenticate == nil {
		panic("server.New needs a peer and Options.Authenticate")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.MaxBody = cmp.Or(o.MaxBody, 64<<10); o.MaxBody < 0 {
		o.MaxBody = math.MaxInt64
	}
	hosts, wrong, ok := origin.NewHosts(o.Hosts)
	if !ok {
		panic(fmt.Sprintf("server.Options.Hosts: %q is not a host name or address (without a port)", wrong))
	}
	s := &Server{
		peer: p, options: o, hosts: hosts, log: o.Logger,
		mux: http.NewServeMux(), exact: map[string]*route{}, unrouted: &route{}, origins: http.NewCrossOriginProtection(),
		links: links{of: map[[sha256.Size]byte]link{}},
	}
	o.Authenticate = s.authenticate
	o.Gateway.Authenticate, o.Gateway.Logger = o.Authenticate, o.Logger
	s.door, s.gateway = newDoor(o), gateway.New(p, o.Gateway)
	s.apiRoutes()
	s.pageRoutes()
	s.handle("/", *s.unrouted)
	return s
}

// Close closes the connections of the gateway with the code for a restart of the server, and refuses
// new ones. It returns once they have ended, or ctx has. Call it before http.Server.Shutdown, which
// doesn't know of them.
func (s *Server) Close(ctx context.Context) error { return s.gateway.Close(ctx) }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked := r
	r = s.behindProxy(r)
	own := s.hosts.Answer(asked) && s.hosts.Answer(r)
	if own && s.isConnect(r) {
		s.gateway.ServeHTTP(w, r)
		return
	}
	x := &struct { // one allocation for what every request needs
		recorder
		deadline
	}{}
	start := time.Now()
	x.deadline.Context, x.at = r.Context(), start.Add(answerWithin)
	defer x.end()
	r = r.WithContext(&x.deadline)
	x.recorder.ResponseWriter, x.recorder.start = w, start
	rec := &x.recorder
	defer s.finish(rec, r)

	h := rec.Header()
	h["X-Content-Type-Options"] = nosniff
	h["Content-Security-Policy"] = noContent
	h["Referrer-Policy"] = noReferrer
	h["Cache-Control"] = noStore

	if !own {
		s.misdirected(rec, asked, r)
		return
	}
	if rt := s.exact[r.URL.Path]; rt != nil && r.URL.RawPath == "" {
		s.answer(rt, rec, r)
		return
	}
	// ServeMux would redirect these to an address without the prefix that StripPrefix removed.
	if !isClean(r.URL.EscapedPath()) {
		s.answer(s.unrouted, rec, r)
		return
	}
	s.mux.ServeHTTP(rec, r)
}

// Headers of every answer. The slices are shared and must not be changed.
var (
	nosniff    = []string{"nosniff"}
	noContent  = []string{"default-src 'none'; frame-ancestors 'none'"}
	noReferrer = []string{"no-referrer"}
	noStore    = []string{"no-store"}
)

func isClean(p string) bool {
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return strings.HasPrefix(p, "/") && p == clean
}

// answer calls the route's handler for the method of r, if the client is admitted.
func (s *Server) answer(rt *route, w *recorder, r *http.Request) {
	c := &call{Request: r, w: w}
	handle, err := s.admit(rt, c)
	if err == nil {
		err = handle(c)
	}
	if err != nil {
		s.fail(c, err)
	}
}

// admit returns the handler for c, or the error to answer it with. The order of the checks matters: only
// clients that may know learn what exists, and nobody is charged for a foreign page's requests.
func (s *Server) admit(rt *route, c *call) (handler, error) {
	foreign := s.foreign(rt, c)
	if foreign && c.Method != http.MethodGet && c.Method != http.MethodHead {
		s.door.writeAddressLimit(c)
		return nil, wire.CrossOrigin
	}
	stranger, limited := s.door.enter(rt, c, foreign)
	if limited != nil {
		return nil, limited
	}
	handle, err := rt.method(c)
	switch {
	case err != nil:
		return nil, err
	case rt.probe, rt.page:
		return handle, nil
	case stranger != nil:
		return nil, stranger
	}
	return handle, s.allow(rt, c)
}

// allow checks the requirements of every API route: the permission, and the names in the query.
func (s *Server) allow(rt *route, c *call) error {
	if needs := cmp.Or(rt.needs, auth.Admin); !c.who.Permissions.Has(needs) {
		return wire.Forbidden(needs)
	}
	if c.onlyItsOwn() && c.who.ID == "" {
		return wire.Forbidden(auth.Admin) // without an id no action is its own
	}
	return checkQuery(c.URL.RawQuery, rt.query)
}
