// Package badnet simulates a bad network for tests: a proxy that is slow, cuts connections, or keeps
// them open without forwarding anything.
package badnet

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// A Proxy stands between clients and one address.
type Proxy struct {
	to       string
	delay    time.Duration
	listener net.Listener
	served   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	made   int
	open   map[*net.TCPConn]struct{}
	trap   Trap
	hung   chan struct{} // closed when it no longer hangs; nil while it doesn't
}

// A Trap is what happens when a client next sends something.
type Trap int

const (
	// None forwards it.
	None Trap = iota
	// CutBefore cuts the connection before the server receives it.
	CutBefore
	// CutAfter forwards it, holds back the answer, and cuts the connection.
	CutAfter
	// HangAfter forwards it, and nothing from then on, as Hang does.
	HangAfter
)

// New returns a proxy that is closed at the end of t, and waits up to delay before it forwards a piece.
func New(t testing.TB, to string, delay time.Duration) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{to: to, delay: delay, listener: listener, open: map[*net.TCPConn]struct{}{}}
	p.served.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.Hang(false)
		p.Cut(false)
		p.served.Wait()
	})
	return p
}

// Address returns the address for clients to connect to.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Connections returns how many connections clients have made so far.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made
}

// Cut ends all connections, with a reset or as if both sides had hung up.
func (p *Proxy) Cut(reset bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		if reset {
			_ = conn.SetLinger(0)
		}
		_ = conn.Close()
	}
}

// Hang stops forwarding, on old connections and new ones, until it is called with false.
func (p *Proxy) Hang(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.hung == nil:
		p.hung = make(chan struct{})
	case !on && p.hung != nil:
		close(p.hung)
		p.hung = nil
	}
}

// Set sets a trap for the next time that any client sends something.
func (p *Proxy) Set(trap Trap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trap = trap
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.made++
		p.mu.Unlock()
		p.served.Go(func() { // concurrently: a server that doesn't accept one connection may accept the next
			server, err := net.Dial("tcp", p.to)
			if err != nil {
				_ = client.Close()
				return
			}
			p.join(client.(*net.TCPConn), server.(*net.TCPConn))
		})
	}
}

func (p *Proxy) join(client, server *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_, _ = client.Close(), server.Close()
		return
	}
	p.open[client], p.open[server] = struct{}{}, struct{}{}
	l := &line{proxy: p, client: client, server: server}
	var both sync.WaitGroup
	both.Go(func() { l.pass(client, server) })
	both.Go(func() { l.pass(server, client) })
	p.served.Go(func() {
		both.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, conn := range []*net.TCPConn{client, server} {
			delete(p.open, conn)
			_ = conn.Close()
		}
	})
}

// A line is one connection through the proxy.
type line struct {
	proxy          *Proxy
	client, server *net.TCPConn
	caught         Trap // guarded by proxy.mu
}

func (l *line) pass(from, to *net.TCPConn) {
	defer func() { _ = to.CloseWrite() }()
	piece := make([]byte, 4096)
	for {
		n, err := from.Read(piece)
		if l.proxy.delay > 0 {
			time.Sleep(rand.N(l.proxy.delay))
		}
		if n > 0 && !l.through(from == l.client) {
			_, _ = l.client.Close(), l.server.Close()
			return
		}
		if n > 0 {
			if _, err := to.Write(piece[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if err != io.EOF {
				_, _ = l.client.Close(), l.server.Close()
			}
			return
		}
	}
}

// through waits while the proxy hangs, and returns false if the connection is to be cut.
func (l *line) through(fromClient bool) bool {
	p := l.proxy
	p.mu.Lock()
	if fromClient && p.trap != None {
		caught := p.trap
		l.caught, p.trap = caught, None
		if caught == HangAfter && p.hung == nil {
			p.hung = make(chan struct{})
		}
		p.mu.Unlock()
		return caught != CutBefore // what sprang the trap is forwarded, even if the proxy hangs
	}
	hung, caught := p.hung, l.caught
	p.mu.Unlock()
	if hung != nil {
		<-hung
	}
	return caught == None || caught == HangAfter || fromClient
}
