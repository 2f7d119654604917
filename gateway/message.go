package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/kettubot/kapi/auth"
)

// The opcodes.
const (
	opDispatch  = 0
	opHeartbeat = 1
	opHello     = 3
	opIdentify  = 4
	opResume    = 5
)

// Intents say which dispatches a client wants.
const (
	// intentInternal brings KAPI_ACTION_UPDATE; it needs the permission ADMIN.
	intentInternal = 1 << 6
	// knownIntents are all that kAPI has published. The others bring nothing here.
	knownIntents = intentInternal<<1 - 1
)

// A message is what a client sends.
type message struct {
	op   int
	data json.RawMessage
}

var errShape = errors.New("not a message")

// parse reads what a client sends. Fields that it doesn't know are ignored.
func parse(frame []byte) (message, error) {
	var m struct {
		Op *json.Number    `json:"op"`
		D  json.RawMessage `json:"d"`
	}
	if err := unmarshal(frame, &m); err != nil {
		return message{}, err
	}
	if m.Op == nil {
		return message{}, errShape
	}
	op, err := strconv.Atoi(m.Op.String())
	if err != nil {
		op = -1 // a number, but no opcode
	}
	return message{op, m.D}, nil
}

// unmarshal reads a JSON object.
func unmarshal(data []byte, v any) error {
	data = bytes.TrimPrefix(data, []byte("\uFEFF")) // a byte order mark, which may be ignored
	if data = bytes.TrimLeft(data, " \t\r\n"); len(data) == 0 || data[0] != '{' {
		return errShape
	}
	return json.Unmarshal(data, v)
}

// An identify is the data of op 4. Its properties are not looked at.
type identify struct {
	Token   string       `json:"token"`
	Intents *json.Number `json:"intents"`
}

// intents returns them as bits; ok is false for some that there aren't.
func (i *identify) intents() (bits uint64, ok bool) {
	if i.Intents == nil {
		return 0, false
	}
	bits, err := strconv.ParseUint(i.Intents.String(), 10, 64)
	return bits, err == nil && bits&^knownIntents == 0
}

// A resume is the data of op 5.
type resume struct {
	Token     string      `json:"token"`
	SessionID string      `json:"session_id"`
	Seq       json.Number `json:"seq"`
}

// seq is false for what can't have been one.
func (r *resume) seq() (uint64, bool) {
	n, err := strconv.ParseUint(r.Seq.String(), 10, 63)
	return n, err == nil
}

// A user is what a client is told of whom it identified as.
type user struct {
	ID          string           `json:"id"`
	Name        string           `json:"name"`
	Permissions auth.Permissions `json:"permissions"`
}

// encode makes a message of the server's own.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // only of types in this package
	}
	return data
}

type hello struct {
	Op int `json:"op"`
	D  struct {
		Interval int64 `json:"heartbeat_interval"`
	} `json:"d"`
}

// A ready is READY or RESUMED.
type ready struct {
	Op int    `json:"op"`
	T  string `json:"t"`
	S  uint64 `json:"s"`
	D  struct {
		User      *user  `json:"user,omitempty"`
		SessionID string `json:"session_id,omitempty"`
	} `json:"d"`
}

var heartbeatAnswer = []byte(`{"op":1,"a":true}`)
