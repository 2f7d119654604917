package gateway

import (
	"errors"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
)

// A Code closes a connection and says why (kAPI's document, "Gateway close codes").
type Code int

const (
	// CodeUnknown: an error that has no other code. The client resumes.
	CodeUnknown Code = 4000
	// CodeOpcode: an opcode that there isn't, or that clients don't send. The client resumes.
	CodeOpcode Code = 4001
	// CodeDecode: not a JSON object of the right shape. The client resumes.
	CodeDecode Code = 4002
	// CodeNotIdentified: a message that needs an identified connection. The client gives up.
	CodeNotIdentified Code = 4003
	// CodeToken: the token is not valid, or is no longer. The client gives up.
	CodeToken Code = 4004
	// CodeIdentified: identify or resume on a connection that is identified. The client
	// resumes.
	CodeIdentified Code = 4005
	// CodeSeq: the seq to resume from has not been reached. The client starts anew.
	CodeSeq Code = 4007
	// CodeLimit: too many messages, too long a message, or too slow a reader. The client
	// resumes.
	CodeLimit Code = 4008
	// CodeTimeout: no identify or heartbeat in time, or the session can't be resumed any
	// more. The client starts anew.
	CodeTimeout Code = 4009
	// CodeRestart: the server stops. The client comes back after 3 to 6 seconds.
	CodeRestart Code = 4010
	// CodeVersion: the version is missing or not 4. The client gives up.
	CodeVersion Code = 4012
	// CodeIntents: intents that there aren't. The client gives up.
	CodeIntents Code = 4013
	// CodeForbidden: intents that the token isn't allowed. The client gives up.
	CodeForbidden Code = 4014

	// clientLeft: the connection has ended, or the client ends it.
	clientLeft Code = 0
	// codeSlow is CodeLimit for a reader that is too slow, which is counted by itself.
	codeSlow Code = -4008
)

var reasons = map[Code]string{
	CodeUnknown:       "Unknown error",
	CodeOpcode:        "Unknown opcode",
	CodeDecode:        "Decode error",
	CodeNotIdentified: "Not identified",
	CodeToken:         "Authentication failed",
	CodeIdentified:    "Already identified",
	CodeSeq:           "Invalid seq",
	CodeLimit:         "Rate limited",
	codeSlow:          "Rate limited",
	CodeTimeout:       "Session timed out",
	CodeRestart:       "Server restarting",
	CodeVersion:       "Invalid API version",
	CodeIntents:       "Invalid intents",
	CodeForbidden:     "Disallowed intents",
}

// codeOf says how a connection ends because of err.
func codeOf(err error) Code {
	switch {
	case errors.Is(err, auth.ErrNoToken), errors.Is(err, auth.ErrInvalidToken), errors.Is(err, auth.ErrExpiredToken),
		errors.Is(err, auth.ErrUnknownToken):
		return CodeToken
	case errors.Is(err, kapi.ErrGap):
		return CodeTimeout
	case errors.Is(err, kapi.ErrAhead):
		return CodeSeq
	case errors.Is(err, kapi.ErrClosed):
		return CodeRestart
	}
	return CodeUnknown
}

// told is the code that the client is told.
func (c Code) told() Code {
	if c == codeSlow {
		return CodeLimit
	}
	return c
}

func (c Code) status() websocket.StatusCode { return websocket.StatusCode(c.told()) }
