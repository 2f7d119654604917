package gateway

import (
	"errors"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/wire"
)

// How serving a connection goes on is said by a close code, or by one of these, which no client is
// told.
const (
	// goesOn: it does.
	goesOn wire.Code = -1
	// clientLeft: the connection has ended, or the client ends it.
	clientLeft wire.Code = 0
	// codeSlow is CodeLimit for a reader that is too slow, which is counted by itself.
	codeSlow wire.Code = -4008
	// codeCrowded is CodeLimit for a connection that makes room for others.
	codeCrowded wire.Code = -14008
)

// codeOf says how a connection ends because of err.
func codeOf(err error) wire.Code {
	switch {
	case errors.Is(err, auth.ErrNoToken), errors.Is(err, auth.ErrInvalidToken), errors.Is(err, auth.ErrExpiredToken),
		errors.Is(err, auth.ErrUnknownToken):
		return wire.CodeToken
	case errors.Is(err, auth.ErrForbidden):
		return wire.CodeForbidden
	case errors.Is(err, kapi.ErrGap):
		return wire.CodeTimeout
	case errors.Is(err, kapi.ErrAhead):
		return wire.CodeSeq
	case errors.Is(err, kapi.ErrClosed):
		return wire.CodeRestart
	}
	return wire.CodeUnknown
}

// sentCode is the code that the client is sent, 0 if it is sent none.
func sentCode(c wire.Code) wire.Code {
	if c == codeSlow || c == codeCrowded {
		return wire.CodeLimit
	}
	return c
}

func statusOf(c wire.Code) websocket.StatusCode { return websocket.StatusCode(sentCode(c)) }
