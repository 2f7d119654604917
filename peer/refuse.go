package peer

import (
	"errors"
	"fmt"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// What a claimer does about actions that it can't take on.

var errNotResumable = errors.New("the operation is not resumable here")

// refuse ends a recorded start whose arguments are wrong. An action that has run before keeps its place: another peer
// may take it.
func (c *claimer) refuse(r *store.Record, d *kapi.Definition, why error) error {
	if !r.Defined.Unclaimed {
		if c.first(r.ID) {
			c.log.Warn("an action can't be taken over by this version of its operation", "action", r.ID, "operation", d.Name, "error", why)
		}
		return nil
	}
	state := "refused: " + why.Error()
	s := submissionOf(rules.Change{
		Kind: rules.KindReport, ID: r.ID, Refusal: rules.RefusalOf(why),
		Report: rules.Report{Fence: r.Fence, Status: kapi.StatusFailed, State: &state},
	})
	return c.commits.commit(c.ctx, s)
}

// tellAfter is for how long others may claim an action before a peer that can't read its checkpoints says so in its state.
const tellAfter = 2 * time.Second

// tell says that this peer can't read the checkpoints of an action: once in its log, and in the action's state if it
// still waits after a while, which means that no live peer can.
func (c *claimer) tell(r *store.Record, d *kapi.Definition) error {
	if c.first(r.ID) {
		c.log.Warn("an action can't be taken over: this peer can't read its checkpoints", "action", r.ID,
			"operation", d.Name, "version", r.Defined.Version, "reads", fmt.Sprintf("%d to %d", d.Reads, d.Version))
	}
	c.mu.Lock()
	since := time.Since(c.unreadable[r.ID])
	c.mu.Unlock()
	state := fmt.Sprintf("waits for a runner of version %d", r.Defined.Version)
	if since < tellAfter || r.State == state {
		return nil
	}
	return c.commits.commit(c.ctx, submissionOf(rules.Change{Kind: rules.KindExplain, ID: r.ID, Fence: r.Fence, Reason: state}))
}

// first reports whether the action was not noted yet as one that this peer can't take over, and notes it.
func (c *claimer) first(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, known := c.unreadable[id]
	if !known {
		c.unreadable[id] = time.Now()
	}
	return !known
}
