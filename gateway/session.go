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

// lastWords is how long a client has, when the connection ends, to receive a message that is being sent and
// the close code.
const lastWords = 5 * time.Second

// lastWordsOnRestart is the same for a restart of the server. It is short because some clients never answer
// a close, and the server must be back within 5 seconds.
const lastWordsOnRestart = 2 * time.Second

// lastWordsCrowded is the same for a connection that makes room for another one.
const lastWordsCrowded = 50 * time.Millisecond

// A session is one connection.
type session struct {
	gateway *Gateway
	conn    *websocket.Conn
	address string // of the client
	// internal says that the client gets changes of actions.
	internal atomic.Bool
	place    *list.Element // in Gateway.unknown; guarded by the gateway's mu

	// ctx ends with the connection. Never pass it to a read or write: when it ends during one, the library
	// cuts the connection, and the close code is lost.
	ctx    context.Context
	cancel context.CancelFunc

	ending  sync.Once
	closing sync.WaitGroup // the closing handshake
	sending sync.WaitGroup // the sender of dispatches

	// wire is the connection under conn. The gateway writes whole frames to it.
	wire    *counted
	writing sync.Mutex    // held while a frame is written
	torn    bool          // only part of a frame was written; guarded by writing
	since   atomic.Uint64 // drains.now when the current write began, 0 if there is none

	// overdue closes the connection when no identify or heartbeat came in time.
	overdue *time.Timer

	// Used by the reading goroutine only:
	request    *http.Request // the request that opened the connection; nil once identified
	identified bool
	forget     func() // ends the rechecks of the token
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

// leave closes the connection and waits until all of its goroutines have ended.
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
			if s.torn { // the close frame would be taken for the rest of the torn one
				_ = s.conn.CloseNow()
				return
			}
			_ = s.conn.Close(statusOf(code), sentCode(code).Reason())
		})
	})
}

func (s *session) wait() { s.closing.Wait() }

// panicked limits the effect of a panic, as in Authenticate, to this connection.
func (s *session) panicked() {
	if v := recover(); v != nil {
		s.gateway.log.Error("gateway: panic", "address", s.address, "panic", v, "stack", string(debug.Stack()))
		s.leave(wire.CodeUnknown)
	}
}

// read says hello and handles the client's messages. It returns the code to close with.
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

// frame reads a message. If it returns nil, the code says why.
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

// handle handles a message.
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

// stream sends changes until the connection ends, and returns the code to close with.
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
		return codeSlow // the client can try to resume
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
