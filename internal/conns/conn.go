package conns

import (
	"container/list"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Conn is a connection in a Set. SignedIn and OnCrowded do nothing on a nil *Conn.
type Conn struct {
	net.Conn
	set      *Set
	active   atomic.Int64 // time of the last read, in nanoseconds since 1970
	identity atomic.Pointer[string]
	closing  sync.Once
	closed   error
	turn     chan struct{} // has capacity one: the turn

	// Guarded by the Set's mu:
	group   *group // nil once it isn't counted any more
	place   *list.Element
	crowded func()
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.active.Store(time.Now().UnixNano())
	}
	return n, err
}

// Turn waits until no other request of the connection has the turn, or returns ctx's error. Call done
// to give the turn back. On a nil *Conn the turn is always free.
func (c *Conn) Turn(ctx context.Context) (done func(), err error) {
	if c == nil {
		return func() {}, nil
	}
	select {
	case c.turn <- struct{}{}:
		return func() { <-c.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// CloseWrite closes the writing side, if the connection has one of its own.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.closing.Do(func() {
		c.set.mu.Lock()
		if c.group != nil {
			c.group.side.remove(c)
		}
		c.set.mu.Unlock()
		c.closed = c.Conn.Close()
	})
	return c.closed
}

// SignedIn records that a client with this identity has shown a valid token. It may be called again
// with another identity: behind a proxy, one connection serves several clients.
func (c *Conn) SignedIn(identity string) {
	if c == nil {
		return
	}
	if known := c.identity.Load(); known != nil && *known == identity {
		return
	}
	c.set.mu.Lock()
	defer c.set.mu.Unlock()
	c.identity.Store(&identity)
	if c.group != nil {
		c.group.side.remove(c)
		c.set.signedIn.add(c, identity)
	}
}

// OnCrowded sets what is called instead of Close when the connection must make room. f must not block,
// and must see to it that the connection is closed soon.
func (c *Conn) OnCrowded(f func()) {
	if c == nil {
		return
	}
	c.set.mu.Lock()
	defer c.set.mu.Unlock()
	c.crowded = f
}

// makeRoom ends a connection that isn't counted any more.
func (c *Conn) makeRoom() {
	c.set.mu.Lock()
	end := c.crowded
	c.set.mu.Unlock()
	if end != nil {
		end()
		return
	}
	_ = c.Close()
}
