// Package conns limits how many connections a server has open, per address and in total. It never
// refuses a connection: when there are too many, it closes another one. So strangers may open as many
// connections as they like, and still can't keep anybody out.
//
// Strangers lose their connections first: idle ones, then the oldest, because a client with a token
// shows it right away. Signed-in clients have room of their own.
package conns

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Limits of a Set.
type Limits struct {
	// MaxConnections is the limit for all connections; 0 means Default, negative is off. Three quarters
	// are reserved for signed-in clients, one quarter for strangers, which every client is at first.
	// Either side may use what the other doesn't need.
	MaxConnections int
	// MaxConnectionsAddress is the limit for strangers from one address or IPv6 network (/64); 0 means
	// half of MaxConnections, at most 1024; negative is off.
	MaxConnectionsAddress int
	// Exempt reports whether MaxConnectionsAddress doesn't apply to an address. If nil, it applies to all.
	Exempt func(netip.Addr) bool
	// Logger logs failures to accept, and closings to make room, each at most every ten seconds. If
	// nil, slog.Default() is used.
	Logger *slog.Logger
}

const (
	maxDefault        = 16384
	maxDefaultAddress = 1024
	// idleAfter is how long a stranger may be silent before it counts as idle.
	idleAfter = 5 * time.Second
	// logEvery is the least time between two log messages of one kind.
	logEvery = 10 * time.Second
	// roomForFiles is how many strangers' connections are closed when the process runs out of open
	// files.
	roomForFiles = 16
)

// Default returns three quarters of the process's limit of open files, at most 16384.
func Default() int {
	files, ok := openFiles()
	if !ok {
		return maxDefault
	}
	return int(max(min(files/4*3, maxDefault), 8))
}

// A Set holds the connections of one or several listeners. Its methods may be called concurrently.
type Set struct {
	limits Limits
	log    *slog.Logger

	mu        sync.Mutex
	strangers side
	signedIn  side
	closed    uint64
	failures  uint64
	failing   throttle
	crowded   throttle
}

// Stats are the counts of a Set.
type Stats struct {
	// Strangers and SignedIn are the numbers of open connections.
	Strangers, SignedIn int
	// Closed is how many connections were closed to make room.
	Closed uint64
	// Failures is how often accepting a connection failed.
	Failures uint64
}

// New returns a Set without connections.
func New(l Limits) *Set {
	if l.MaxConnections == 0 {
		l.MaxConnections = Default()
	}
	if l.MaxConnectionsAddress == 0 {
		l.MaxConnectionsAddress = maxDefaultAddress
		if l.MaxConnections > 0 {
			l.MaxConnectionsAddress = max(min(l.MaxConnections/2, maxDefaultAddress), 1)
		}
	}
	if l.Logger == nil {
		l.Logger = slog.Default()
	}
	return &Set{limits: l, log: l.Logger, strangers: newSide(), signedIn: newSide()}
}

// Stats returns the counts up to now.
func (s *Set) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Strangers: s.strangers.n, SignedIn: s.signedIn.n, Closed: s.closed, Failures: s.failures}
}

// Listener wraps l with the limits. A type that wraps the returned connections must have a method
// NetConn, as *tls.Conn does.
func (s *Set) Listener(l net.Listener) net.Listener { return &listener{l, s} }

type listener struct {
	net.Listener
	set *Set
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		l.set.failed(err)
		return nil, err
	}
	return l.set.admit(c), nil
}

type contextKey struct{}

// ConnContext is to be used as http.Server.ConnContext.
func (*Set) ConnContext(ctx context.Context, c net.Conn) context.Context {
	for {
		switch known := c.(type) {
		case *Conn:
			return context.WithValue(ctx, contextKey{}, known)
		case interface{ NetConn() net.Conn }:
			c = known.NetConn()
		default:
			return ctx
		}
	}
}

// Of returns the connection that a request came over, nil if it belongs to no Set. SignedIn, OnCrowded
// and Turn may be called on a nil *Conn.
func Of(ctx context.Context) *Conn {
	c, _ := ctx.Value(contextKey{}).(*Conn)
	return c
}

// admit adds a connection, and closes another one if there are too many.
func (s *Set) admit(raw net.Conn) *Conn {
	now := time.Now()
	c := &Conn{Conn: raw, set: s, turn: make(chan struct{}, 1)}
	c.active.Store(now.UnixNano())
	from, exempt := s.address(raw)
	s.mu.Lock()
	var victim *Conn
	switch {
	case s.limits.MaxConnectionsAddress > 0 && !exempt && s.strangers.count(from) >= s.limits.MaxConnectionsAddress:
		victim = s.strangers.of[from].first(now)
	case s.limits.MaxConnections > 0 && s.strangers.n+s.signedIn.n >= s.limits.MaxConnections:
		victim = s.superfluous(now)
	}
	s.strangers.add(c, from)
	if victim == nil {
		s.mu.Unlock()
		return c
	}
	victim.group.side.remove(victim)
	s.closed++
	times := s.crowded.note(now)
	s.mu.Unlock()
	victim.makeRoom()
	if times > 0 {
		now := s.Stats()
		s.log.Warn("connections are closed to make room for others", "closed", times, "last", victim.RemoteAddr().String(),
			"strangers", now.Strangers, "signed_in", now.SignedIn, "max_connections", s.limits.MaxConnections, "max_connections_address", s.limits.MaxConnectionsAddress)
	}
	return c
}

// superfluous returns the connection to close when there are too many in total: one of the address or
// identity that has most.
func (s *Set) superfluous(now time.Time) *Conn {
	if s.signedIn.n == 0 || s.strangers.n > s.limits.MaxConnections/4 {
		return s.strangers.biggest().first(now)
	}
	return s.signedIn.biggest().idlest()
}

// address returns the client's address, and whether it is exempt from the limit per address.
func (s *Set) address(c net.Conn) (from string, exempt bool) {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil { // a Unix socket, for example
		return "", true
	}
	ip := ap.Addr().Unmap().WithZone("")
	exempt = s.limits.Exempt != nil && s.limits.Exempt(ip)
	if ip.Is6() {
		return netip.PrefixFrom(ip, 64).Masked().String(), exempt
	}
	return ip.String(), exempt
}

// failed counts and logs a failure to accept. If the process has run out of open files, it closes some
// strangers' connections; net/http then tries again.
func (s *Set) failed(err error) {
	if errors.Is(err, net.ErrClosed) {
		return
	}
	now := time.Now()
	var victims []*Conn
	s.mu.Lock()
	s.failures++
	for errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		if s.strangers.n == 0 || len(victims) == roomForFiles {
			break
		}
		victim := s.strangers.biggest().first(now)
		s.strangers.remove(victim)
		s.closed++
		victims = append(victims, victim)
	}
	times := s.failing.note(now)
	s.mu.Unlock()
	for _, victim := range victims {
		victim.makeRoom()
	}
	if times > 0 {
		now := s.Stats()
		s.log.Error("connections can't be accepted", "error", err, "times", times, "strangers", now.Strangers, "signed_in", now.SignedIn)
	}
}

// A throttle limits how often a message is logged.
type throttle struct {
	last time.Time
	n    int
}

// note counts one more event. If a message is due it returns the number of events since the last
// message, otherwise 0.
func (s *throttle) note(now time.Time) (times int) {
	s.n++
	if !s.last.IsZero() && now.Sub(s.last) < logEvery {
		return 0
	}
	times, s.n, s.last = s.n, 0, now
	return times
}
