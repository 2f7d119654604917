package server

import (
	"context"
	"log/slog"
	"net"
	"net/netip"

	"github.com/kettubot/kapi/internal/conns"
)

// ConnectionLimits are the options of LimitConnections. A limit of 0 is the default; a negative limit is off.
type ConnectionLimits struct {
	// MaxConnections is how many may be open; 0 is three quarters of the process's limit of open files, at most
	// 16,384; negative is off. Three quarters of them are reserved for clients that have shown a valid
	// token, and one quarter for strangers: clients that have not shown one yet. Either group may use what
	// the other doesn't need.
	MaxConnections int
	// MaxConnectionsAddress is how many connections strangers from one address or IPv6 network (/64) may
	// have; 0 is half of MaxConnections, at most 1,024; negative is off.
	MaxConnectionsAddress int
	// TrustedProxies are exempt from MaxConnectionsAddress.
	TrustedProxies []netip.Prefix
	// Logger gets failures to accept a connection, and connections that were closed to make room; each kind
	// at most every ten seconds. Nil is slog.Default().
	Logger *slog.Logger
}

// Connections limit how many connections an http.Server has open, including those of the gateway, which
// the http.Server doesn't track. No client is refused: when there are too many connections, another one
// is closed. Strangers' connections go first, idle ones and then the oldest, so strangers can't keep
// signed-in clients out.
//
//	connections := server.LimitConnections(server.ConnectionLimits{})
//	srv := &http.Server{Handler: handler, ConnContext: connections.ConnContext}
//	srv.Serve(tls.NewListener(connections.Listener(listener), config))
//
// All methods may be called concurrently.
type Connections struct{ set *conns.Set }

// LimitConnections returns Connections with these limits.
func LimitConnections(l ConnectionLimits) *Connections {
	return &Connections{conns.New(conns.Limits{
		MaxConnections: l.MaxConnections, MaxConnectionsAddress: l.MaxConnectionsAddress, Logger: l.Logger,
		Exempt: func(ip netip.Addr) bool { return contains(l.TrustedProxies, ip) },
	})}
}

// Listener returns l with the limits; TLS must be wrapped around it. Several listeners share the limits.
func (c *Connections) Listener(l net.Listener) net.Listener { return c.set.Listener(l) }

// ConnContext is for http.Server.ConnContext. Without it, all connections count as those of strangers.
func (c *Connections) ConnContext(ctx context.Context, conn net.Conn) context.Context {
	return c.set.ConnContext(ctx, conn)
}

// ConnectionStats are the counts of Connections.
type ConnectionStats struct {
	// Strangers and SignedIn count open connections.
	Strangers, SignedIn int
	// Closed counts connections that were closed to make room.
	Closed uint64
	// Failures counts failures to accept a connection.
	Failures uint64
}

// Stats returns the counts.
func (c *Connections) Stats() ConnectionStats { return ConnectionStats(c.set.Stats()) }

func contains(networks []netip.Prefix, ip netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}
