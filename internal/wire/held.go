package wire

import "github.com/kettubot/kapi"

// A Held answers a start whose key is held, or whose operation is at its limit. Its status is 409.
type Held struct {
	Code    int         `json:"code"`
	Message string      `json:"message"`
	Action  kapi.Action `json:"action"`
	// Key is held, or, if it is "", Operation is at its limit.
	Key       string `json:"key,omitempty"`
	Operation string `json:"operation,omitempty"`
	Limit     int    `json:"limit,omitempty"`
	Circular  bool   `json:"circular,omitempty"`
}

// HeldBy returns the answer to a start that was refused because of a held key or a limit.
func HeldBy(e *kapi.HeldError) Held {
	return Held{codeHeld, e.Error(), e.Holder, e.Key, e.Operation, e.Limit, e.Circular}
}

// A HeldByAnother is a Held for a client that may not see the whole action of another one.
type HeldByAnother struct {
	Held
	Action Holder `json:"action"` // replaces Held's
}

// A Holder has what any client that may start actions learns about the holder of a key.
type Holder struct {
	ID     string      `json:"id"`
	Title  string      `json:"title"`
	Status kapi.Status `json:"status"`
	Keys   []string    `json:"keys"`
	Runner *Runner     `json:"runner,omitempty"`
}

// A Runner has what such a client learns about the holder's runner.
type Runner struct {
	Host    string `json:"host"`
	HeardAt int64  `json:"heard_at"`
}

// HeldByOther returns the answer to a start that was refused because of another client's action.
func HeldByOther(e *kapi.HeldError) HeldByAnother {
	holder := Holder{ID: e.Holder.ID, Title: e.Holder.Title, Status: e.Holder.Status, Keys: append([]string{}, e.Holder.Keys...)}
	if r := e.Holder.Runner; r != nil {
		holder.Runner = &Runner{r.Host, r.HeardAt}
	}
	return HeldByAnother{HeldBy(e), holder}
}

// A Failure answers a request that could not be served. It has the id of the incident in the log.
type Failure struct {
	Message  string `json:"message"`
	Incident string `json:"report"` // kAPI's name for it
	// Operation is set if the reason is a kapi.NotOfferedError.
	Operation string `json:"operation,omitempty"`
}

// NotOffered returns the answer to the start of an operation that no live peer offers. Its status is 503.
func NotOffered(e *kapi.NotOfferedError, incident string) Failure {
	return Failure{Message: e.Error(), Incident: incident, Operation: e.Operation}
}
