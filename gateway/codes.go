package gateway

import (
	"errors"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/wire"
)

// The functions that serve a connection return a close code, or one of these, which are not sent to
// clients.
const (
	// goesOn: the connection continues.
	goesOn wire.Code = -1
	// clientLeft: the connection is lost, or the client closed it.
	clientLeft wire.Code = 0
	// codeSlow is CodeLimit for a reader that is too slow, which is counted separately.
	codeSlow wire.Code = -4008
	// codeCrowded is CodeLimit for a connection that is closed to make room for others.
	codeCrowded wire.Code = -14008
)

// codeOf returns the code with which err closes a connection.
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

// sentCode returns the code that is sent to the client, 0 if none is.
func sentCode(c wire.Code) wire.Code {
	if c == codeSlow || c == codeCrowded {
		return wire.CodeLimit
	}
	return c
}

func statusOf(c wire.Code) websocket.StatusCode { return websocket.StatusCode(sentCode(c)) }
