package main

import (
	"errors"
	"fmt"
)

// A plan says which slots go from where to where. It is made once, and stored: the nodes are those that were meant
// when the operation began, even if another one has their address later, and the slots are the same in every attempt.
type plan struct {
	From  string `json:"from"` // node ids
	To    string `json:"to"`
	Slots string `json:"slots"`

	slots []int
}

// newPlan chooses the slots.
func newPlan(a arguments, v *view) (*plan, error) {
	from, to := v.find(a.From), v.find(a.To)
	switch {
	case from == nil:
		return nil, fmt.Errorf("from: the cluster has no node %s", a.From)
	case to == nil:
		return nil, fmt.Errorf("to: the cluster has no node %s", a.To)
	case from == to:
		return nil, fmt.Errorf("to: %v is the node that gives the slots", to)
	case !from.is("master"), !to.is("master"):
		return nil, fmt.Errorf("only masters have slots: from is %v, to is %v", from.flags, to.flags)
	case (a.Count == 0) == (a.Slots == ""):
		return nil, errors.New("give either count or slots")
	}
	p := &plan{From: from.id, To: to.id}
	if a.Slots != "" {
		var err error
		if p.slots, err = parseSlots(a.Slots); err != nil {
			return nil, err
		}
	}
	for slot := 0; len(p.slots) < a.Count && slot < slotCount; slot++ {
		if v.owner[slot] == from {
			p.slots = append(p.slots, slot)
		}
	}
	if len(p.slots) < a.Count {
		return nil, fmt.Errorf("count: %v has only %d slots", from, len(p.slots))
	}
	for _, slot := range p.slots {
		if owner := v.owner[slot]; owner != from {
			return nil, fmt.Errorf("slots: slot %d belongs to %v, not to %v", slot, owner, from)
		}
	}
	p.Slots = formatSlots(p.slots)
	return p, nil
}
