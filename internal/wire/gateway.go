package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
)

// The opcodes (kAPI's document, "Gateway opcodes") and the types of dispatches.
const (
	OpDispatch  = 0
	OpHeartbeat = 1
	OpHello     = 3
	OpIdentify  = 4
	OpResume    = 5

	TypeReady   = "READY"
	TypeResumed = "RESUMED"
	TypeUpdate  = "KAPI_ACTION_UPDATE"
)

// Intents are bits that say which dispatches a client wants.
const (
	// IntentInternal brings KAPI_ACTION_UPDATE; it needs the permission ADMIN.
	IntentInternal = 1 << 6
	// KnownIntents has all intents that kAPI has published. The others bring nothing here.
	KnownIntents = IntentInternal<<1 - 1
)

// A Message is a client's message, as a server reads it.
type Message struct {
	Op   int
	Data json.RawMessage
}

var errShape = errors.New("not a message")

// Parse reads a client's message. Unknown fields are ignored. Op is -1 for a number that is not an int.
func Parse(frame []byte) (Message, error) {
	var m struct {
		Op *Number         `json:"op"`
		D  json.RawMessage `json:"d"`
	}
	if err := Unmarshal(frame, &m); err != nil {
		return Message{}, err
	}
	if m.Op == nil {
		return Message{}, errShape
	}
	op, err := strconv.Atoi(m.Op.String())
	if err != nil {
		op = -1 // a number, but not an opcode
	}
	return Message{op, m.D}, nil
}

// A Number is a json.Number that is decoded from numbers only, not from strings like "4".
type Number struct{ json.Number }

// UnmarshalJSON implements json.Unmarshaler. Null changes nothing.
func (n *Number) UnmarshalJSON(data []byte) error {
	if data[0] == '"' {
		return errShape
	}
	return json.Unmarshal(data, &n.Number)
}

// MarshalJSON implements json.Marshaler.
func (n Number) MarshalJSON() ([]byte, error) { return json.Marshal(n.Number) }

// Unmarshal reads a JSON object into v. A byte order mark before it is ignored (RFC 8259, section 8.1).
func Unmarshal(data []byte, v any) error {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if data = bytes.TrimLeft(data, " \t\r\n"); len(data) == 0 || data[0] != '{' {
		return errShape
	}
	return json.Unmarshal(data, v)
}

// A Hello is the data of op 3, the server's first message.
type Hello struct {
	// Interval is how many milliseconds may pass from one heartbeat to the next.
	Interval int64 `json:"heartbeat_interval"`
}

// A Heartbeat is the data of op 1, which servers ignore.
type Heartbeat int

// HeartbeatAnswer is the answer to every heartbeat.
var HeartbeatAnswer = []byte(`{"op":1,"a":true}`)

// An Identify is the data of op 4.
type Identify struct {
	Intents *Number `json:"intents"`
	// Properties may be anything; servers ignore them.
	Properties json.RawMessage `json:"properties"`
	Token      string          `json:"token"`
}

// NewIdentify returns the Identify of kapi's own client.
func NewIdentify(token string, intents uint64) Identify {
	bits := number(intents)
	return Identify{Intents: &bits, Properties: json.RawMessage(`{"browser":"kapi"}`), Token: token}
}

// Bits returns the intents. ok is false if they are missing or some are unknown.
func (i *Identify) Bits() (bits uint64, ok bool) {
	if i.Intents == nil {
		return 0, false
	}
	bits, err := strconv.ParseUint(i.Intents.String(), 10, 64)
	return bits, err == nil && bits&^KnownIntents == 0
}

// A Resume is the data of op 5.
type Resume struct {
	Seq       Number `json:"seq"`
	SessionID string `json:"session_id"`
	Token     string `json:"token"`
}

// NewResume returns the Resume of a session whose client has seen everything up to seq.
func NewResume(token, sessionID string, seq uint64) Resume {
	return Resume{Seq: number(seq), SessionID: sessionID, Token: token}
}

func number(n uint64) Number { return Number{json.Number(strconv.FormatUint(n, 10))} }

// Number returns the seq to resume from. It returns false for a number that can't be a seq.
func (r *Resume) Number() (uint64, bool) {
	n, err := strconv.ParseUint(r.Seq.String(), 10, 63)
	return n, err == nil
}

// A Ready is the data of READY. An empty one is the data of RESUMED.
type Ready struct {
	// User is an encoded User. It is raw so that a client needs not understand it.
	User      json.RawMessage `json:"user,omitempty"`
	SessionID string          `json:"session_id,omitempty"`
}

// A User says who the client has identified as, in the form of kAPI's documents.
type User struct {
	ID          string           `json:"id"`
	Type        auth.Type        `json:"type"`
	Permissions auth.Permissions `json:"perms"`
	Name        string           `json:"name,omitempty"`
}

// NewUser returns the User for an identity. The type of one without a valid type, which an embedder
// may make, is user.
func NewUser(who auth.Identity) User {
	u := User{ID: who.ID, Type: who.Type, Permissions: who.Permissions, Name: who.Name}
	if !u.Type.Valid() {
		u.Type = auth.TypeUser
	}
	return u
}

// NewReady returns the data of READY.
func NewReady(who User, sessionID string) Ready {
	return Ready{User: encode(who), SessionID: sessionID}
}

// A Frame is a server's message, as a client reads it.
type Frame struct {
	Op int             `json:"op"`
	T  string          `json:"t"`
	S  uint64          `json:"s"`
	D  json.RawMessage `json:"d"`
}

// Encode returns a message with its data, of either side. Dispatches are made by Dispatch and Update.
func Encode(op int, data any) []byte {
	return encode(struct {
		Op int `json:"op"`
		D  any `json:"d"`
	}{op, data})
}

// Dispatch returns a READY or RESUMED message.
func Dispatch(name string, seq uint64, data Ready) []byte {
	return encode(struct {
		Op int    `json:"op"`
		T  string `json:"t"`
		S  uint64 `json:"s"`
		D  Ready  `json:"d"`
	}{OpDispatch, name, seq, data})
}

// Update returns the dispatch for the change of an action: op 0 with type, seq and the whole action. The
// action's JSON is dispatch[from:to].
func Update(a *kapi.Action) (dispatch []byte, from, to int) {
	head := fmt.Sprintf(`{"op":%d,"t":"%s","s":%d,"d":`, OpDispatch, TypeUpdate, a.Seq)
	action := encode(a)
	return slices.Concat([]byte(head), action, []byte("}")), len(head), len(head) + len(action)
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // Actions and the types of this package can always be encoded
	}
	return data
}
