package wire

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/kettubot/kapi"
)

// A Reported is the answer to PATCH /kapi/actions/{id}, as a client reads it: the action's fields, and
// two more for its runner.
type Reported struct {
	kapi.Action
	// Fence is the action's, if it differs from that of the report: the action has got its keys. Otherwise
	// it is 0.
	Fence uint64
	// Cancel says that the runner was asked to stop.
	Cancel bool
}

// UnmarshalJSON reads the action's fields and those for its runner.
func (r *Reported) UnmarshalJSON(data []byte) error {
	var more struct {
		Fence  uint64
		Cancel bool
	}
	if err := json.Unmarshal(data, &more); err != nil {
		return err
	}
	r.Fence, r.Cancel = more.Fence, more.Cancel
	return json.Unmarshal(data, &r.Action)
}

// EncodeReported returns the answer to a report that had the given fence.
func EncodeReported(answer kapi.Remote, fence uint64) []byte {
	body := encode(answer.Action)
	if answer.Fence != fence {
		body = fmt.Appendf(bytes.TrimSuffix(body, []byte("}")), `,"fence":%d}`, answer.Fence)
	}
	if answer.Action.CancelRequestedAt != 0 {
		body = append(bytes.TrimSuffix(body, []byte("}")), `,"cancel":true}`...)
	}
	return body
}

// A Gateway answers GET /gateway.
type Gateway struct {
	URL string `json:"url"`
}

// A SignedIn answers a SignIn, together with a cookie.
type SignedIn struct {
	Session   string `json:"session"`    // what the page sends with each request
	ExpiresAt int64  `json:"expires_at"` // in milliseconds since 1970
}

// A Limited answers a request above the client's rate. Its status is 429.
type Limited struct {
	Message    string  `json:"message"`
	RetryAfter float64 `json:"retry_after"`
	Global     bool    `json:"global"`
}
