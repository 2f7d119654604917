package operation

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/kettubot/kapi"
)

// reserved begins the names under which Step and Each store what they need. The names of checkpoints have at most 100
// characters, so 90 are left.
const (
	reserved  = "kapi:"
	stepNames = reserved + "step:"
	eachNames = reserved + "each:"
	longest   = 90
)

// A run is the handle of one run of an operation.
type run struct {
	kapi.OperationHandle
	mu   sync.Mutex
	used map[string]bool // the names of its checkpoints that Step and Each have taken
}

// Wrap returns the handle that Step and Each need: it knows which names they have taken in this run, and refuses to Save
// or Load under a name that begins with "kapi:", where they store what they need. Define wraps the handle before it calls
// Run, so only a Run that was not made by Define, and a test that brings a handle of its own, must call Wrap, once at its
// beginning.
func Wrap(h kapi.OperationHandle) kapi.OperationHandle {
	if r, ok := h.(*run); ok {
		return r
	}
	return &run{OperationHandle: h, used: map[string]bool{}}
}

func (r *run) Save(name string, v any) error {
	if err := unreserved(name); err != nil {
		return err
	}
	return r.OperationHandle.Save(name, v)
}

func (r *run) Load(name string, v any) (bool, error) {
	if err := unreserved(name); err != nil {
		return false, err
	}
	return r.OperationHandle.Load(name, v)
}

func unreserved(name string) error {
	if strings.HasPrefix(name, reserved) {
		return wrong("name", fmt.Sprintf("begins with %q: such names are those of Step and Each", reserved))
	}
	return nil
}

// take returns the place for a name of Step or Each. In one run a name has one use.
func take(ctx context.Context, h kapi.OperationHandle, prefix, name string) (place, error) {
	r, ok := h.(*run)
	if !ok {
		return place{}, wrong("handle", "is not the one that Define gave to Run: see Wrap")
	}
	if reason := flaw(name); reason != "" {
		return place{}, wrong("name", reason)
	}
	if err := ctx.Err(); err != nil {
		return place{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used[prefix+name] {
		return place{}, wrong("name", "was used before in this run: each needs a name of its own")
	}
	r.used[prefix+name] = true
	return place{r.OperationHandle, prefix + name}, nil
}

// flaw says why Step and Each can't have a name, or returns "".
func flaw(name string) string {
	switch n := utf8.RuneCountInString(name); {
	case n < 1, n > longest:
		return fmt.Sprintf("must have 1 to %d characters, not %d", longest, n)
	case !utf8.ValidString(name):
		return "must be valid UTF-8"
	case strings.ContainsFunc(name, unicode.IsControl):
		return "must not have control characters"
	}
	return ""
}

// wrong returns an error about a call that would be as wrong the next time.
func wrong(field, reason string) error {
	return Permanent(&kapi.InvalidError{Field: field, Reason: reason})
}
