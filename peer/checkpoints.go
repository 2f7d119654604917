package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/internal/wellformed"
)

// checkpoints are those of an action that this process runs. They are in memory, too: the store is read only when the
// action is taken over.
type checkpoints struct {
	patience time.Duration // how long a write waits for the store
	// fresh is set by each new checkpoint.
	fresh atomic.Bool

	mu   sync.Mutex
	all  map[string]*checkpoint
	size int // of all, names and texts, with those that are being written, in bytes
}

// A checkpoint is the one of a name.
type checkpoint struct {
	busy    chan struct{} // holds one, during a write
	text    []byte        // nil if there is none
	version int
	epoch   string // the history in which it was written; another one may lack it
	// unsure is set if the last write may have happened or not.
	unsure bool
}

func (c *checkpoints) init(patience time.Duration) {
	c.patience, c.all = patience, map[string]*checkpoint{}
}

// put notes what the store has in a history.
func (c *checkpoints) put(saved []store.Saved, epoch string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range saved {
		c.all[s.Name] = &checkpoint{busy: make(chan struct{}, 1), text: s.Data, version: s.Version, epoch: epoch}
		c.size += sizeOf(s.Name, s.Data)
	}
}

// set notes that a checkpoint was written.
func (c *checkpoints) set(p *checkpoint, text []byte, version int, epoch string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.text, p.version, p.epoch, p.unsure = text, version, epoch, false
}

// is reports whether the store has this text, of this version, already.
func (p *checkpoint) is(text []byte, version int, epoch string) bool {
	if p.unsure || p.text == nil || text == nil {
		return !p.unsure && p.text == nil && text == nil
	}
	return bytes.Equal(p.text, text) && p.version == version && p.epoch == epoch
}

// allSaved returns everything that is saved for the action, with its arguments.
func (d *defined) allSaved() []store.Saved {
	d.saved.mu.Lock()
	defer d.saved.mu.Unlock()
	id := d.handle.id
	all := []store.Saved{{Action: id, Name: store.ArgumentsName, Data: d.arguments}}
	for name, p := range d.saved.all {
		if p.text != nil {
			all = append(all, store.Saved{Action: id, Name: name, Version: p.version, Data: p.text})
		}
	}
	return all
}

func (c *checkpoints) of(name string) *checkpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.all[name]
	if p == nil {
		p = &checkpoint{busy: make(chan struct{}, 1)}
		c.all[name] = p
	}
	return p
}

// sizeOf returns what a checkpoint takes of wellformed.MaxCheckpoints: nothing if there is none.
func sizeOf(name string, text []byte) int {
	if text == nil {
		return 0
	}
	return len(name) + len(text)
}

// grow makes room for a checkpoint that grows by so many bytes. grow(-n) gives it back.
func (c *checkpoints) grow(name string, by int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if by > 0 && c.size+by > wellformed.MaxCheckpoints {
		return &kapi.InvalidError{Field: called(name), Reason: fmt.Sprintf(
			"would make %d bytes of all checkpoints of the action, at most %d are allowed", c.size+by, wellformed.MaxCheckpoints)}
	}
	c.size += by
	return nil
}

func called(name string) string {
	if name == "" {
		return "checkpoint"
	}
	return fmt.Sprintf("checkpoint %q", name)
}

func checkName(name string) error {
	reason := wellformed.Text(name)
	switch n := utf8.RuneCountInString(name); {
	case reason != "":
	case n < 1, n > maxName:
		reason = fmt.Sprintf("must have 1 to %d characters, not %d", maxName, n)
	case strings.ContainsFunc(name, unicode.IsControl):
		reason = "must not have control characters"
	default:
		return nil
	}
	return &kapi.InvalidError{Field: "name of a checkpoint", Reason: reason}
}

// maxName is the length of a checkpoint's name, in code points.
const maxName = 100

func (h *operationHandle) Checkpoint(v any) error { return h.save("", v) }

func (h *operationHandle) Restore(v any) (bool, error) { return h.load("", v) }

func (h *operationHandle) Save(name string, v any) error {
	if err := checkName(name); err != nil {
		return err
	}
	return h.save(name, v)
}

func (h *operationHandle) Load(name string, v any) (bool, error) {
	if err := checkName(name); err != nil {
		return false, err
	}
	return h.load(name, v)
}

func (h *operationHandle) load(name string, v any) (found bool, err error) {
	err = h.use(func() error {
		p := h.defined.saved.of(name)
		p.busy <- struct{}{}
		text, unsure := p.text, p.unsure
		<-p.busy
		switch {
		case unsure:
			return fmt.Errorf("%s: %w: %w", called(name), kapi.ErrUnavailable, kapi.ErrOutcomeUnknown)
		case text == nil:
			return nil
		}
		found = true
		if err := decodeStrictly(text, v); err != nil {
			return fmt.Errorf("%s doesn't fit %T: %w", called(name), v, err)
		}
		return nil
	})
	return found && err == nil, err
}

// decodeStrictly decodes a JSON value, and returns an error for an unknown field or anything after the value.
func decodeStrictly(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the value")
	}
	return nil
}

func (h *operationHandle) save(name string, v any) error {
	var text []byte
	if v != nil {
		var err error
		if text, err = json.Marshal(v); err != nil {
			return fmt.Errorf("%s can't be encoded: %w", called(name), err)
		}
	}
	if len(text) > wellformed.MaxCheckpoint {
		return &kapi.InvalidError{Field: called(name), Reason: fmt.Sprintf("has %d bytes, at most %d are allowed", len(text), wellformed.MaxCheckpoint)}
	}
	return h.use(func() error {
		p := h.defined.saved.of(name)
		p.busy <- struct{}{} // the writes of one name are made one after the other
		defer func() { <-p.busy }()
		version, epoch := h.defined.definition.Version, h.epoch() // from before the write: a later history may lack it
		if p.is(text, version, epoch) {
			return nil
		}
		by := sizeOf(name, text) - sizeOf(name, p.text)
		if err := h.defined.saved.grow(name, by); err != nil {
			return err
		}
		err := h.write(rules.Change{
			Kind:  rules.KindSave,
			Saved: []store.Saved{{Action: h.id, Name: name, Version: version, Data: text}},
		})
		if err != nil {
			_ = h.defined.saved.grow(name, -by) // making room can't fail
			p.unsure = p.unsure || errors.Is(err, kapi.ErrOutcomeUnknown)
			return fmt.Errorf("store %s: %w", called(name), err)
		}
		h.defined.saved.set(p, text, version, epoch)
		h.defined.saved.fresh.Store(true)
		return nil
	})
}

// write commits a change of the action that is not a report. While the store is not available it tries again, until the
// operation is asked to stop, or the patience is over: then it stops the operation. The error wraps ErrOutcomeUnknown if
// any of the attempts may have succeeded.
func (h *operationHandle) write(c rules.Change) (err error) {
	c.ID, c.Fence = h.id, h.fence
	var doubt error
	defer func() {
		if err != nil && doubt != nil && !errors.Is(err, kapi.ErrOutcomeUnknown) {
			err = errors.Join(err, doubt)
		}
	}()
	patience := time.NewTimer(h.defined.saved.patience)
	defer patience.Stop()
	for pauses := storePauses(); ; {
		err := h.commits.commit(h.handle.ctx, submissionOf(c))
		if errors.Is(err, kapi.ErrOutcomeUnknown) {
			doubt = err
		}
		switch {
		case errors.Is(err, kapi.ErrStaleFence), errors.Is(err, kapi.ErrUnknown):
			h.defined.lose()
			return err
		case !errors.Is(err, kapi.ErrUnavailable):
			return err
		}
		select {
		case <-time.After(pauses.Next()):
		case <-patience.C:
			h.cancel(fmt.Errorf("what it had to store could not be stored for %v: %w", h.defined.saved.patience, err))
			return err
		case <-h.ctx.Done():
			return errors.Join(context.Cause(h.ctx), err)
		}
	}
}
