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

// A store's history may come to lack what this peer runs: its file was removed, or replaced by a
// backup, or a standby was promoted that was behind. What the peer runs goes on all the same, so its
// record is put into the history that there is now, with its id, its fence, and its keys, unless
// somebody has got one of them meanwhile. Then the runner has lost its action.

// lose notes that a record of this peer's own is missing from the history. It is called with the
// view locked.
func (o *operations) lose(r store.Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.running[r.ID]
	switch {
	case h == nil || r.RunnerID() != o.runner:
	case r.Status.Active() && r.Status != kapi.StatusPending:
		o.lost[r.ID] = r
	default: // it has not begun, or is not proven dead: nothing was half done, or somebody has to look
		h.cancel(fmt.Errorf("%w: the store was replaced, and doesn't know of it", kapi.ErrLost))
	}
}

// reclaims returns changes that put what is missing back, ahead of all that is said of it.
func (o *operations) reclaims() (changes []*submission) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.lost) == 0 {
		return nil
	}
	for _, r := range slices.SortedFunc(maps.Values(o.lost), func(a, b store.Record) int { return int(a.Seq) - int(b.Seq) }) {
		c := submissionOf(rules.Change{Kind: rules.KindReclaim, ID: r.ID, Action: &r})
		c.done = make(chan struct{})
		c.then = func() { o.reclaimed(c) }
		changes = append(changes, c)
	}
	clear(o.lost)
	return changes
}

func (o *operations) anyLost() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.lost) > 0
}

// reclaimed is called with the outcome.
func (o *operations) reclaimed(c *submission) {
	o.mu.Lock()
	h := o.running[c.ID]
	if h != nil && c.Err != nil && !errors.Is(c.Err, kapi.ErrUnknown) {
		o.lost[c.ID] = *c.Action // with the next transaction
	}
	o.mu.Unlock()
	switch {
	case h == nil:
	case errors.Is(c.Err, kapi.ErrUnknown): // it has ended in this history
		h.cancel(kapi.ErrLost)
	case c.Err != nil:
		o.log.Warn("an action that the store has lost can't be recorded again yet", "action", c.ID, "error", c.Err)
	case c.LostTo != nil:
		o.log.Warn("an action was lost with the store's history, and its key is another's now", "action", c.ID, "error", c.LostTo)
		h.cancel(fmt.Errorf("%w: the store was replaced, and there %w", kapi.ErrLost, c.LostTo))
	default:
		o.log.Warn("an action that the store had lost is recorded again", "action", c.ID, "title", c.Record.Title)
	}
}
