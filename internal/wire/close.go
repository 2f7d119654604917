package wire

import (
	"maps"
	"slices"
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
	CodeTimeout:       "Session timed out",
	CodeRestart:       "Server restarting",
	CodeVersion:       "Invalid API version",
	CodeIntents:       "Invalid intents",
	CodeForbidden:     "Disallowed intents",
}

// Reason returns what a client is told beside the code.
func (c Code) Reason() string { return reasons[c] }

// Codes returns all codes, in order.
func Codes() []Code { return slices.Sorted(maps.Keys(reasons)) }
