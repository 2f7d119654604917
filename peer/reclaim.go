package peer

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// A store's history may suddenly lack actions that this peer runs: its file was removed, or replaced
// with a backup, or a standby was promoted that was behind. Their operations still run, so the peer puts
// their records back into the current history, with their ids, fences and keys. If another action holds
// one of the keys by then, the operation has lost its action.

// lose is called, with the view locked, for each record that the current history lacks. It notes those
// of this peer that must be put back.
func (o *operations) lose(r store.Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.running[r.ID]
	switch {
	case h == nil || r.RunnerID() != o.runner:
	case r.Status.Active() && r.Status != kapi.StatusPending:
		o.lost[r.ID] = r
	default: // it has not begun, or it failed: don't put it back
		h.lose(fmt.Errorf("%w: the store was replaced, and doesn't have it", kapi.ErrLost))
	}
}

// reclaims returns the changes that put the missing records back. They must come before all other changes.
func (o *operations) reclaims() (changes []*submission) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.lost) == 0 {
		return nil
	}
	for _, r := range slices.SortedFunc(maps.Values(o.lost), func(a, b store.Record) int { return int(a.Seq) - int(b.Seq) }) {
		c := submissionOf(rules.Change{Kind: rules.KindReclaim, ID: r.ID, Action: &r, Saved: o.savedOf(r.ID)})
		c.done = make(chan struct{})
		c.then = func() { o.reclaimed(c) }
		changes = append(changes, c)
	}
	clear(o.lost)
	return changes
}

// savedOf returns what is saved for an action that this process runs. The operations must be locked.
func (o *operations) savedOf(id string) []store.Saved {
	if h := o.running[id]; h != nil && h.defined != nil {
		return h.defined.allSaved()
	}
	return nil
}

func (o *operations) anyLost() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.lost) > 0
}

// reclaimed handles the outcome of a change that puts a record back.
func (o *operations) reclaimed(c *submission) {
	o.mu.Lock()
	h := o.running[c.ID]
	if h != nil && c.Err != nil && !errors.Is(c.Err, kapi.ErrUnknown) {
		o.lost[c.ID] = *c.Action // try again with the next transaction
	}
	o.mu.Unlock()
	switch {
	case h == nil:
	case errors.Is(c.Err, kapi.ErrUnknown): // the action has ended in this history
		h.lose(kapi.ErrLost)
	case c.Err != nil:
		o.log.Warn("an action that the store has lost can't be recorded again yet", "action", c.ID, "error", c.Err)
	case c.LostTo != nil:
		o.log.Warn("an action was lost with the store's history, and another action holds its key now", "action", c.ID, "error", c.LostTo)
		h.lose(fmt.Errorf("%w: the store was replaced, and there %w", kapi.ErrLost, c.LostTo))
	default:
		o.log.Warn("an action that the store had lost is recorded again", "action", c.ID, "title", c.Record.Title)
	}
}
