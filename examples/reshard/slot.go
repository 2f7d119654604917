package main

import (
	"context"
	"fmt"
)

// A standing is what the two nodes say of a slot now. Everything that the mover does follows from a standing, whether
// it begins a slot, tries again or goes on after another runner.
type standing struct {
	slot         int
	source       *node  // as it sees itself
	target       *node  // as the source sees it: there MIGRATE connects
	sourceOwner  string // who owns the slot: the source's view
	targetOwner  string // the target's
	migrating    string // the id of the node to which the source has opened it, or ""
	importing    string // the id of the node from which the target has opened it, or ""
	keys, copies int64  // in the source and in the target
	run          string // the source's run id: another one after each restart
}

// observe asks first the source and then the target. Redis runs one command at a time: an answer of the source proves
// that no MIGRATE is going on in it.
func (m *mover) observe(ctx context.Context, slot int) (*standing, error) {
	sees, err := m.cluster.see(ctx, m.addrs[m.plan.From])
	if err != nil {
		return nil, err
	}
	s := &standing{slot: slot, source: sees.self, target: sees.find(m.plan.To)}
	if sees.self.id != m.plan.From || s.target == nil {
		return nil, refuse("%s is now %s, or no longer knows %s", m.addrs[m.plan.From], short(sees.self.id), short(m.plan.To))
	}
	says, err := m.cluster.see(ctx, m.addrs[m.plan.To])
	if err != nil {
		return nil, err
	}
	if says.self.id != m.plan.To {
		return nil, refuse("%s is now %s", m.addrs[m.plan.To], short(says.self.id))
	}
	s.sourceOwner, s.targetOwner = idOf(sees.owner[slot]), idOf(says.owner[slot])
	if o := sees.openOf(slot); o != nil {
		if o.importing {
			return nil, refuse("slot %d: %v imports it from %s", slot, s.source, short(o.peer))
		}
		s.migrating = o.peer
	}
	if o := says.openOf(slot); o != nil {
		if !o.importing {
			return nil, refuse("slot %d: %v gives it to %s", slot, s.target, short(o.peer))
		}
		s.importing = o.peer
	}
	for n, count := range map[*node]*int64{sees.self: &s.keys, says.self: &s.copies} {
		counts, err := m.cluster.countKeys(ctx, n, []int{slot})
		if err != nil {
			return nil, err
		}
		*count = counts[slot]
	}
	info, err := m.cluster.info(ctx, sees.self, serverInfo)
	if err != nil {
		return nil, err
	}
	s.run = info["run_id"]
	return s, nil
}

func idOf(n *node) string {
	if n == nil {
		return ""
	}
	return n.id
}

// untouched reports whether nobody has begun to move the slot.
func (s *standing) untouched() bool { return s.migrating == "" && s.importing == "" }

// check refuses what the mover's own steps can't have led to, whatever they were interrupted by: a human has to look.
func (s *standing) check(p *plan, mine bool) error {
	for _, owner := range []string{s.sourceOwner, s.targetOwner} {
		if owner != p.From && owner != p.To {
			return refuse("slot %d belongs to %s now", s.slot, short(owner))
		}
	}
	given := s.targetOwner == p.To // the target owns it in its own view
	switch {
	case s.migrating != "" && s.migrating != p.To:
		return refuse("slot %d: %v gives it to %s", s.slot, s.source, short(s.migrating))
	case s.importing != "" && s.importing != p.From:
		return refuse("slot %d: %v imports it from %s", s.slot, s.target, short(s.importing))
	case !mine && !s.untouched():
		return refuse("slot %d was opened by somebody else since the preflight (see adopt)", s.slot)
	case given && s.keys > 0:
		return refuse("slot %d: %v owns it, but %v still has %d of its keys, and drops them once it knows", s.slot, s.target, s.source, s.keys)
	case !given && s.sourceOwner == p.From && s.migrating == "" && s.copies > 0:
		// Whoever closed the slot let clients create keys anew in the source: of a key that is in both, either may be newer.
		return refuse("slot %d: %v has %d of its keys, though %v has not opened it", s.slot, s.target, s.copies, s.source)
	}
	return nil
}

// String is for the log.
func (s *standing) String() string {
	return fmt.Sprintf("slot %d: the source says that %s owns it and that it migrates to %q; the target says that %s owns it and that "+
		"it is imported from %q; %d keys in the source, %d in the target", s.slot, short(s.sourceOwner), short(s.migrating),
		short(s.targetOwner), short(s.importing), s.keys, s.copies)
}

// A refusal is an error that trying again doesn't mend.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }
