package gateway

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/conns"
	"github.com/kettubot/kapi/internal/wire"
	"github.com/kettubot/kapi/peer"
)

// How a client subscribes to changes: it identifies, or resumes a session.

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
	ready := wire.NewReady(wire.NewUser(who), s.newSessionID(watch.Epoch, intents, who))
	var seq uint64
	if intents&wire.IntentInternal != 0 { // the number of changes is for admins only, too
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

// admit authenticates the client's token, and has it checked again from now on.
func (s *session) admit(token string) (auth.Identity, wire.Code) {
	ctx, cancel := context.WithTimeout(s.ctx, authenticateWithin)
	defer cancel()
	request, who, err := s.gateway.authenticate(ctx, s.request, token)
	if err != nil {
		return who, s.failed("authenticate", err)
	}
	conns.Of(request.Context()).SignedIn(who.ID)
	s.gateway.identified(s)
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

// begin starts to send: first what was missed, then the greeting, then changes.
func (s *session) begin(watch *peer.Watch, intents uint64, greeting []byte) wire.Code {
	s.identified, s.request = true, nil
	watch.Snapshot = nil // not used, as clients list over REST: frees its memory
	s.internal.Store(intents&wire.IntentInternal != 0)
	s.alive()
	s.sending.Go(func() {
		defer watch.Close()
		s.end(s.stream(watch, greeting))
	})
	return goesOn
}

// newSessionID returns a session id that no other connection has.
func (s *session) newSessionID(epoch string, intents uint64, who auth.Identity) string {
	return s.sessionID(epoch, intents, rand.Text(), who)
}

// sessionID returns the epoch, the intents and a random part with a signature that binds them to the
// identity. So any peer can resume the session, but only with a token of the same identity.
func (s *session) sessionID(epoch string, intents uint64, random string, who auth.Identity) string {
	plain := epoch + "." + strconv.FormatUint(intents, 10) + "." + random
	mac := s.gateway.peer.Sign("gateway session", plain, who.ID)
	return plain + "." + base64.RawURLEncoding.EncodeToString(mac)
}

func (s *session) openSessionID(id string, who auth.Identity) (epoch string, intents uint64, ok bool) {
	parts := strings.Split(id, ".")
	if len(parts) != 4 {
		return "", 0, false
	}
	intents, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return "", 0, false
	}
	return parts[0], intents, hmac.Equal([]byte(s.sessionID(parts[0], intents, parts[2], who)), []byte(id))
}
