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

// A connection's buffers are small: the client sends little, and the library writes only close frames.
// net/http's buffers have 4 KiB each.
const (
	readBuffer  = 512
	writeBuffer = 256
)

// A takeover gives the connection of a request to the library, with small buffers, and keeps it
// for the gateway's own messages.
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
	early, _ := buffers.Peek(buffers.Reader.Buffered()) // sent by the client without waiting for the answer
	t.conn = newCounted(conn, early)
	return t.conn, bufio.NewReadWriter(bufio.NewReaderSize(t.conn, readBuffer), bufio.NewWriterSize(t.conn, writeBuffer)), nil
}

// The first byte of a frame that is a whole message.
const (
	finalText = 0x81
	finalPong = 0x8A
)

// framed returns a text message as a server sends it: one unmasked frame (RFC 6455, section 5.2).
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

// A dispatched is the JSON of a dispatch and its frame.
type dispatched struct{ text, frame []byte }

// frameOf returns the frame of a dispatch. Most dispatches are sent to many connections at about
// the same time, so the last frame is kept.
func (g *Gateway) frameOf(text []byte) []byte {
	if d := g.last.Load(); d != nil && &d.text[0] == &text[0] {
		return d.frame
	}
	d := &dispatched{text, framed(text)}
	g.last.Store(d)
	return d.frame
}

// drains looks for clients that receive nothing. A timer for each message would cost more than
// everything else that the gateway does for it.
type drains struct {
	now     atomic.Uint64 // counts looks, from 1
	looking bool          // guarded by the gateway's mu
}

// drainLooks is the number of looks in the time that a client has to receive a message.
const drainLooks = 16

// lookForSlow closes connections whose clients receive nothing. It returns when no connection is left.
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

// write writes a whole frame directly to the connection, so that it can't be mixed with what the
// library writes. A client that doesn't receive it in time is cut. It gets the close code if it
// receives the rest within lastWords.
func (s *session) write(frame []byte) error {
	if s.ctx.Err() != nil { // don't wait for the lock, which the closing handshake may hold
		return errEnded
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.ctx.Err() != nil { // nothing may follow the close frame
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
