package wire

import (
	"maps"
	"slices"
)

// A Code says why a connection is closed (kAPI's document, "Gateway close codes").
type Code int

const (
	// CodeUnknown: an error without a code of its own. The client resumes.
	CodeUnknown Code = 4000
	// CodeOpcode: an unknown opcode, or one that clients don't send. The client resumes.
	CodeOpcode Code = 4001
	// CodeDecode: not a JSON object of the right shape. The client resumes.
	CodeDecode Code = 4002
	// CodeNotIdentified: a message that is allowed only once identified. The client gives up.
	CodeNotIdentified Code = 4003
	// CodeToken: the token is not valid, or no longer. The client gives up.
	CodeToken Code = 4004
	// CodeIdentified: identify or resume on a connection that is identified already. The
	// client resumes.
	CodeIdentified Code = 4005
	// CodeSeq: the seq to resume from is above the store's head. The client starts anew.
	CodeSeq Code = 4007
	// CodeLimit: too many messages, too long a message, or too slow a reader. The client
	// resumes.
	CodeLimit Code = 4008
	// CodeTimeout: no identify or heartbeat in time, or the session can no longer be resumed.
	// The client starts anew.
	CodeTimeout Code = 4009
	// CodeRestart: the server stops. The client comes back after 3 to 6 seconds.
	CodeRestart Code = 4010
	// CodeVersion: the version is missing or not 4. The client gives up.
	CodeVersion Code = 4012
	// CodeIntents: the intents are missing or unknown. The client gives up.
	CodeIntents Code = 4013
	// CodeForbidden: the token doesn't permit these intents. The client gives up.
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

// Reason returns the text that is sent with the code.
func (c Code) Reason() string { return reasons[c] }

// Codes returns all codes, in order.
func Codes() []Code { return slices.Sorted(maps.Keys(reasons)) }
