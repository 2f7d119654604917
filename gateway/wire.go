package gateway

import (
	"bufio"
	"encoding/binary"
	"errors"
	"math"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Of a connection's two buffers, one takes what its client says, which is little, and the
// other what the library says by itself: pongs, and the end. net/http's have 4 KiB each.
const (
	readBuffer  = 512
	writeBuffer = 256
)

// A takeover hands the connection of a request to the library, with small buffers, and
// keeps it for the gateway's own messages.
type takeover struct {
	http.ResponseWriter
	conn *counted
}

// Hijack implements http.Hijacker.
func (t *takeover) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(t.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early, _ := buffers.Peek(buffers.Reader.Buffered()) // what the client said without waiting
	t.conn = newCounted(conn, early)
	return t.conn, bufio.NewReadWriter(bufio.NewReaderSize(t.conn, readBuffer), bufio.NewWriterSize(t.conn, writeBuffer)), nil
}

// The first bytes of frames that are whole messages.
const (
	finalText = 0x81
	finalPong = 0x8A
)

// framed is a text message as a server sends it: one frame, not masked (RFC 6455, section 5.2).
func framed(text []byte) []byte {
	frame := make([]byte, 0, len(text)+10)
	switch n := len(text); {
	case n < 126:
		frame = append(frame, finalText, byte(n))
	case n <= math.MaxUint16:
		frame = binary.BigEndian.AppendUint16(append(frame, finalText, 126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, finalText, 127), uint64(n))
	}
	return append(frame, text...)
}

// A dispatched is a change in the form in which all who are told of it are.
type dispatched struct{ text, frame []byte }

// frameOf returns the frame of a dispatch. Most are sent to many connections at about the
// same time, so the last one is kept.
func (g *Gateway) frameOf(text []byte) []byte {
	if d := g.last.Load(); d != nil && &d.text[0] == &text[0] {
		return d.frame
	}
	d := &dispatched{text, framed(text)}
	g.last.Store(d)
	return d.frame
}

// Drains look for connections that take nothing. A timer for each message would cost more
// than the rest of what the gateway does for it.
type drains struct {
	now     atomic.Uint64 // counts looks, from 1
	looking bool          // guarded by the gateway's mu
}

// drainLooks is how many looks there are in the time that a client has to take a message.
const drainLooks = 16

// lookForSlow ends connections whose clients take nothing, until there is no connection.
func (g *Gateway) lookForSlow() {
	defer g.all.Done()
	tick := time.NewTicker(max(g.options.DrainWithin/drainLooks, 1))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-g.closed:
			return // all connections are being ended
		}
		now := g.drains.now.Add(1)
		g.mu.Lock()
		g.drains.looking = len(g.sessions) > 0
		if !g.drains.looking {
			g.mu.Unlock()
			return
		}
		for s := range g.sessions {
			if since := s.since.Load(); since != 0 && now-since > drainLooks {
				s.end(codeSlow)
			}
		}
		g.mu.Unlock()
	}
}

var errEnded = errors.New("the connection is being ended")

// send writes a message.
func (s *session) send(text []byte) error { return s.write(framed(text)) }

// write writes a frame to the connection itself, in one piece, so that it can't be mixed with
// what the library writes. A client that doesn't take it in time is cut: it is told so if it
// takes the rest in a last few seconds.
func (s *session) write(frame []byte) error {
	if s.ctx.Err() != nil { // the closing handshake, which holds the lock, may have asked
		return errEnded
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.ctx.Err() != nil { // after the close code there may be nothing
		return errEnded
	}
	s.since.Store(s.gateway.drains.now.Load())
	defer s.since.Store(0)
	if _, err := s.wire.Write(frame); err != nil {
		s.torn = true
		return err
	}
	if frame[0] == finalText {
		s.gateway.counters.sent.Add(1)
	}
	return nil
}

// pong answers a ping, whose payload is at most 125 bytes (RFC 6455, section 5.5).
func (s *session) pong(payload []byte) error {
	return s.write(append([]byte{finalPong, byte(len(payload))}, payload...))
}
