package acceptance

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// A proxy is a bad network between clients and one address.
type proxy struct {
	address string
	to      string
	delay   time.Duration // at most, before each piece that it passes on

	listener net.Listener
	served   sync.WaitGroup
	mu       sync.Mutex
	open     map[*net.TCPConn]struct{}
}

func newProxy(t *testing.T, to string, delay time.Duration) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{address: listener.Addr().String(), to: to, delay: delay, listener: listener, open: map[*net.TCPConn]struct{}{}}
	p.served.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.cut(false)
		p.served.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.join(client.(*net.TCPConn), server.(*net.TCPConn))
	}
}

func (p *proxy) join(client, server *net.TCPConn) {
	p.mu.Lock()
	p.open[client], p.open[server] = struct{}{}, struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	for from, to := range map[*net.TCPConn]*net.TCPConn{client: server, server: client} {
		both.Go(func() {
			p.pass(from, to)
			_ = to.CloseWrite()
		})
	}
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

func (p *proxy) pass(from io.Reader, to io.Writer) {
	piece := make([]byte, 4096)
	for {
		n, err := from.Read(piece)
		if p.delay > 0 {
			time.Sleep(rand.N(p.delay))
		}
		if n > 0 {
			if _, err := to.Write(piece[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut ends all connections, with a reset or as if both sides had hung up.
func (p *proxy) cut(reset bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		if reset {
			_ = conn.SetLinger(0)
		}
		_ = conn.Close()
	}
}
