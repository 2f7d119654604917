package gateway

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/wire"
	"github.com/kettubot/kapi/peer"
)

// lastWords is how long a client may take what it was being sent when the connection ends.
const lastWords = 5 * time.Second

// lastWordsOnRestart is the same when the server restarts: it is to be back within 5 seconds
// (what its clients wait at most), and some never answer the end of a connection.
const lastWordsOnRestart = 2 * time.Second

// A session is one connection.
type session struct {
	gateway *Gateway
	conn    *websocket.Conn
	address string // of the client
	limit   *rate.Limiter
	// internal says that the client is told of actions.
	internal atomic.Bool

	// ctx ends with the connection. Never give it to a read or write: when it ended in one
	// the library would cut the connection, and the close code be lost.
	ctx    context.Context
	cancel context.CancelFunc

	ending  sync.Once
	closing sync.WaitGroup // the closing handshake
	sending sync.WaitGroup // the sender of dispatches

	// wire is what conn reads and writes: messages go to it in whole frames.
	wire    net.Conn
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

func newSession(g *Gateway, conn *websocket.Conn, wire net.Conn, r *http.Request) *session {
	s := &session{
		gateway: g, conn: conn, wire: wire, request: r, address: r.RemoteAddr, forget: func() {},
		limit: rate.NewLimiter(rate.Every(time.Minute/perMinute), perMinute),
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
		s.gateway.log.Debug("gateway connection ends", "address", s.address, "code", int(told(code)))
		s.gateway.counters.end(code)
		s.cancel()
		s.closing.Go(func() {
			if code == clientLeft {
				_ = s.conn.CloseNow()
				return
			}
			words := lastWords
			if code == wire.CodeRestart {
				words = lastWordsOnRestart
			}
			_ = s.wire.SetWriteDeadline(time.Now().Add(words))
			defer time.AfterFunc(words, func() { _ = s.wire.Close() }).Stop()
			s.writing.Lock()
			defer s.writing.Unlock()
			if s.torn { // what came next would be taken for its rest
				_ = s.conn.CloseNow()
				return
			}
			_ = s.conn.Close(statusOf(code), told(code).Reason())
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
	if err != nil {
		return nil, clientLeft
	}
	if !s.limit.Allow() {
		return nil, wire.CodeLimit
	}
	frame, err := io.ReadAll(io.LimitReader(r, maxFrame+1))
	switch {
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
	s.overdue.Reset(s.gateway.options.Heartbeat * 3 / 2)
}

func (s *session) identify(m wire.Message) wire.Code {
	var d wire.Identify
	if err := wire.Unmarshal(m.Data, &d); err != nil {
		return wire.CodeDecode
	}
	who, code := s.admit(d.Token)
	if code != goesOn {
		return code
	}
	intents, ok := d.Bits()
	if !ok {
		return wire.CodeIntents
	}
	if intents&wire.IntentInternal != 0 && !who.Permissions.Has(auth.Admin) {
		return wire.CodeForbidden
	}
	watch, err := s.gateway.peer.Watch(s.ctx)
	if err != nil {
		return s.failed("begin to watch", err)
	}
	user := wire.User{ID: who.ID, Name: who.Name, Permissions: who.Permissions}
	ready := wire.NewReady(user, s.sessionID(watch.Epoch, intents, who))
	var seq uint64
	if intents&wire.IntentInternal != 0 { // how many changes there were is for admins only, too
		seq = watch.Seq
	}
	return s.begin(watch, intents, wire.Dispatch(wire.TypeReady, seq, ready))
}

func (s *session) resume(m wire.Message) wire.Code {
	var d wire.Resume
	if err := wire.Unmarshal(m.Data, &d); err != nil {
		return wire.CodeDecode
	}
	who, code := s.admit(d.Token)
	if code != goesOn {
		return code
	}
	epoch, intents, ok := s.openSessionID(d.SessionID, who)
	if !ok {
		return wire.CodeTimeout
	}
	if intents&wire.IntentInternal == 0 {
		watch, err := s.gateway.peer.Watch(s.ctx)
		if err != nil {
			return s.failed("begin to watch", err)
		}
		return s.begin(watch, intents, wire.Dispatch(wire.TypeResumed, 0, wire.Ready{}))
	}
	if !who.Permissions.Has(auth.Admin) {
		return wire.CodeForbidden
	}
	seq, ok := d.Number()
	if !ok {
		return wire.CodeSeq
	}
	watch, err := s.gateway.peer.Resume(s.ctx, epoch, seq)
	if err != nil {
		return s.failed("resume", err)
	}
	return s.begin(watch, intents, wire.Dispatch(wire.TypeResumed, watch.Seq, wire.Ready{}))
}

// admit says who has the token, and has it checked again from now on.
func (s *session) admit(token string) (auth.Identity, wire.Code) {
	ctx, cancel := context.WithTimeout(s.ctx, authenticateWithin)
	defer cancel()
	request, who, err := s.gateway.authenticate(ctx, s.request, token)
	if err != nil {
		return who, s.failed("find out who identifies", err)
	}
	s.forget = s.gateway.watchGrant(s, request)
	return who, goesOn
}

func (s *session) failed(what string, err error) wire.Code {
	code := codeOf(err)
	if code == wire.CodeUnknown && s.ctx.Err() == nil {
		s.gateway.log.Warn("gateway: can't "+what, "address", s.address, "error", err)
	}
	return code
}

// begin sends what was missed and the greeting, and from then on what changes.
func (s *session) begin(watch *peer.Watch, intents uint64, greeting []byte) wire.Code {
	s.identified, s.request = true, nil
	watch.Snapshot = nil // clients list over REST; it would stay as long as the connection
	s.internal.Store(intents&wire.IntentInternal != 0)
	s.alive()
	s.sending.Go(func() {
		defer watch.Close()
		s.end(s.tell(watch, greeting))
	})
	return goesOn
}

// tell sends until the connection ends, and says why it did.
func (s *session) tell(watch *peer.Watch, greeting []byte) wire.Code {
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

// sessionID binds the epoch and the intents to who identified, so that any peer can take the
// session up, and nobody else's token can.
func (s *session) sessionID(epoch string, intents uint64, who auth.Identity) string {
	plain := epoch + "." + strconv.FormatUint(intents, 10)
	mac := s.gateway.peer.Sign("gateway session", plain, who.ID)
	return plain + "." + base64.RawURLEncoding.EncodeToString(mac)
}

func (s *session) openSessionID(id string, who auth.Identity) (epoch string, intents uint64, ok bool) {
	parts := strings.Split(id, ".")
	if len(parts) != 3 {
		return "", 0, false
	}
	intents, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return "", 0, false
	}
	return parts[0], intents, hmac.Equal([]byte(s.sessionID(parts[0], intents, who)), []byte(id))
}
