package operation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"

	"github.com/kettubot/kapi"
)

// A disk has the named checkpoints of an action. It outlives the runs.
type disk map[string]string

// What can happen to a run.
const (
	nothing = iota
	crash   // the process dies: nothing that it does afterwards reaches the disk
	stop    // the context ends, as it does when the peer is closed
	fail    // the call returns an error
	lose    // another runner takes the action over
	faults
)

var errFault = errors.New("injected")

// crashed is what a run that died panics with.
type crashed struct{}

// A handle is that of one run, in memory. Each of its calls has two points at which something can happen: before its
// effect and after it. The functions of the tests have points of their own.
type handle struct {
	kapi.OperationHandle // nil: what isn't implemented here is not called
	disk                 disk
	origin               string
	saved                func(name, value string) // unless nil, called for each value that is written

	mu     sync.Mutex
	points int
	fault  int // what happens at point number at, from 1
	at     int
	stop   context.CancelCauseFunc
	dead   bool
	lost   bool
}

func (h *handle) Origin() string { return h.origin }

// point returns the error of fault fail.
func (h *handle) point() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dead {
		panic(crashed{})
	}
	h.points++
	if h.points != h.at {
		return nil
	}
	switch h.fault {
	case crash:
		h.dead = true
		panic(crashed{})
	case stop:
		h.stop(kapi.ErrStopped)
	case fail:
		return errFault
	case lose:
		h.lost = true
		h.stop(kapi.ErrLost)
	}
	return nil
}

// call makes a call whose effect is f.
func (h *handle) call(f func() error) error {
	if err := h.point(); err != nil {
		return err
	}
	h.mu.Lock()
	err := error(kapi.ErrStaleFence)
	if !h.lost {
		err = f()
	}
	h.mu.Unlock()
	return errors.Join(err, h.point())
}

func (h *handle) Save(name string, v any) error {
	return h.call(func() error {
		if n := utf8.RuneCountInString(name); n < 1 || n > 100 {
			return &kapi.InvalidError{Field: "name", Reason: "is too long or empty"}
		}
		if v == nil {
			delete(h.disk, name)
			return nil
		}
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if len(text) > 256<<10 {
			return &kapi.InvalidError{Field: "checkpoint", Reason: fmt.Sprintf("has %d bytes", len(text))}
		}
		h.disk[name] = string(text)
		if h.saved != nil {
			h.saved(name, string(text))
		}
		return nil
	})
}

func (h *handle) Load(name string, v any) (found bool, err error) {
	err = h.call(func() error {
		text, ok := h.disk[name]
		if !ok {
			return nil
		}
		found = true
		d := json.NewDecoder(bytes.NewReader([]byte(text)))
		d.DisallowUnknownFields()
		return d.Decode(v)
	})
	return found && err == nil, err
}

func (h *handle) Proceed(ctx context.Context) error {
	return h.call(func() error { return context.Cause(ctx) })
}

// run runs f as a run of an action would, and reports whether it died.
func (h *handle) run(ctx context.Context, f func(context.Context) error) (died bool, err error) {
	ctx, h.stop = context.WithCancelCause(ctx)
	defer h.stop(nil)
	defer func() {
		switch p := recover(); p {
		case nil:
		case crashed{}:
			died = true
		default:
			panic(p)
		}
	}()
	return false, f(ctx)
}
