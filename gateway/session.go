package gateway

import (
	"container/list"
	"context"
	"errors"
	"io"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/wire"
	"github.com/kettubot/kapi/peer"
)

// lastWords is how long a client may take what it was being sent when the connection ends.
const lastWords = 5 * time.Second

// lastWordsOnRestart is the same when the server restarts: it is to be back within 5 seconds
// (what its clients wait at most), and some never answer the end of a connection.
const lastWordsOnRestart = 2 * time.Second

// lastWordsCrowded is the same when others wait for the room.
const lastWordsCrowded = 50 * time.Millisecond

// A session is one connection.
type session struct {
	gateway *Gateway
	conn    *websocket.Conn
	address string // of the client
	// internal says that the client is told of actions.
	internal atomic.Bool
	place    *list.Element // among those that are unknown; guarded by the gateway's mu

	// ctx ends with the connection. Never give it to a read or write: when it ended in one
	// the library would cut the connection, and the close code be lost.
	ctx    context.Context
	cancel context.CancelFunc

	ending  sync.Once
	closing sync.WaitGroup // the closing handshake
	sending sync.WaitGroup // the sender of dispatches

	// wire is what conn reads and writes: messages go to it in whole frames.
	wire    *counted
	writing sync.Mutex    // held while one is written
	torn    bool          // part of one was written; guarded by writing
	since   atomic.Uint64 // the look at which that began, 0 while there is none

	// overdue ends the connection when no identify, or heartbeat, came in time.
	overdue *time.Timer

	// Of the reading goroutine.
	request    *http.Request // the one that opened the connection; nil when it has identified
	identified bool
	forget     func() // ends the rechecking of the token
}

func newSession(g *Gateway, conn *websocket.Conn, wire *counted, r *http.Request) *session {
	s := &session{
		gateway: g, conn: conn, wire: wire, request: r, address: r.RemoteAddr, forget: func() {},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// run serves the connection until it has ended.
func (s *session) run() {
	defer s.panicked()
	s.overdue = time.AfterFunc(s.gateway.options.IdentifyWithin, func() { s.end(wire.CodeTimeout) })
	s.leave(s.read())
}

// leave waits until all that belongs to the connection has ended.
func (s *session) leave(code wire.Code) {
	s.end(code)
	s.overdue.Stop()
	s.wait()
	s.sending.Wait()
	s.forget()
}

// end closes the connection and returns at once. Calls after the first do nothing.
func (s *session) end(code wire.Code) {
	s.ending.Do(func() {
		s.gateway.log.Debug("gateway connection ends", "address", s.address, "code", int(sentCode(code)))
		s.gateway.counters.end(code)
		s.cancel()
		s.closing.Go(func() {
			if code == clientLeft {
				_ = s.conn.CloseNow()
				return
			}
			words := lastWords
			switch code {
			case wire.CodeRestart:
				words = lastWordsOnRestart
			case codeCrowded:
				words = lastWordsCrowded
			}
			_ = s.wire.SetWriteDeadline(time.Now().Add(words))
			defer time.AfterFunc(words, func() { _ = s.wire.Close() }).Stop()
			s.writing.Lock()
			defer s.writing.Unlock()
			if s.torn { // what came next would be taken for its rest
				_ = s.conn.CloseNow()
				return
			}
			_ = s.conn.Close(statusOf(code), sentCode(code).Reason())
		})
	})
}

func (s *session) wait() { s.closing.Wait() }

// panicked makes that a panic, in Authenticate say, ends this connection and no other.
func (s *session) panicked() {
	if v := recover(); v != nil {
		s.gateway.log.Error("gateway: panic", "address", s.address, "panic", v, "stack", string(debug.Stack()))
		s.leave(wire.CodeUnknown)
	}
}

// read greets the client and does what it says. It returns why that ended.
func (s *session) read() wire.Code {
	if s.request.URL.Query().Get("v") != "4" {
		return wire.CodeVersion
	}
	hello := wire.Hello{Interval: s.gateway.options.Heartbeat.Milliseconds()}
	if err := s.send(wire.Encode(wire.OpHello, hello)); err != nil {
		return clientLeft
	}
	for {
		frame, code := s.frame()
		if frame == nil {
			return code
		}
		if code := s.handle(frame); code != goesOn {
			return code
		}
	}
}

// frame reads a message; without one the code says why.
func (s *session) frame() ([]byte, wire.Code) {
	kind, r, err := s.conn.Reader(context.Background())
	var frame []byte
	if err == nil {
		frame, err = io.ReadAll(io.LimitReader(r, maxFrame+1))
	}
	switch {
	case errors.Is(err, errTooMany):
		return nil, wire.CodeLimit
	case err != nil:
		return nil, clientLeft
	case len(frame) > maxFrame:
		return nil, wire.CodeLimit
	case kind != websocket.MessageText, !utf8.Valid(frame): // RFC 6455, section 5.6: a text is UTF-8
		return nil, wire.CodeDecode
	}
	return frame, goesOn
}

// handle does what a message says.
func (s *session) handle(frame []byte) wire.Code {
	m, err := wire.Parse(frame)
	if err != nil {
		return wire.CodeDecode
	}
	switch m.Op {
	case wire.OpHeartbeat:
		if s.identified {
			s.alive()
		}
		if s.send(wire.HeartbeatAnswer) != nil {
			return clientLeft
		}
		return goesOn
	case wire.OpIdentify, wire.OpResume:
		if s.identified {
			return wire.CodeIdentified
		}
		if m.Op == wire.OpIdentify {
			return s.identify(m)
		}
		return s.resume(m)
	case wire.OpDispatch, wire.OpHello:
		if !s.identified {
			return wire.CodeNotIdentified
		}
	}
	return wire.CodeOpcode
}

// alive notes a sign of life.
func (s *session) alive() {
	s.overdue.Reset(s.gateway.overdue)
}

// stream sends until the connection ends, and says why it did.
func (s *session) stream(watch *peer.Watch, greeting []byte) wire.Code {
	for watch.Replaying() && s.ctx.Err() == nil {
		if code := s.dispatch(watch); code != goesOn {
			return code
		}
	}
	if s.send(greeting) != nil {
		return clientLeft
	}
	for s.ctx.Err() == nil {
		if code := s.dispatch(watch); code != goesOn {
			return code
		}
	}
	return clientLeft
}

// dispatch sends the next change.
func (s *session) dispatch(watch *peer.Watch) wire.Code {
	d, err := watch.NextDispatch(s.ctx)
	switch {
	case errors.Is(err, kapi.ErrGap):
		return codeSlow // the client can resume from what it has seen, or is told then that it can't
	case err != nil && s.ctx.Err() == nil:
		return codeOf(err)
	case err != nil:
		return clientLeft
	}
	if !s.internal.Load() {
		return goesOn
	}
	if d.Skipped > 0 {
		s.gateway.counters.coalesced.Add(d.Skipped)
	}
	if s.write(s.gateway.frameOf(d.JSON)) != nil {
		s.cancel()
	}
	return goesOn
}
