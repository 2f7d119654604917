package peer

import (
	"context"
	"slices"
	"strings"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// judgeNow judges the holder of a key before a start is refused for it. It reports whether a new
// attempt may have another outcome.
func (p *Peer) judgeNow(ctx context.Context, held *kapi.HeldError) bool {
	holder := &held.Holder
	switch {
	case holder.Runner == nil, holder.Runner.ID == p.self.ID, !holder.Status.Active() && !holder.NotProvenDead:
		return false
	}
	id, seq := held.Holder.ID, held.Holder.Seq
	found, err := p.sweep.some([]string{id})
	if err != nil || len(found) == 0 || found[0].Seq != seq {
		return err == nil
	}
	if p.sweep.judge(ctx, []*entry{{Record: found[0]}}) != nil {
		return false
	}
	found, err = p.sweep.some([]string{id})
	return err == nil && (len(found) == 0 || found[0].Seq != seq)
}

// newest reads the current seqs of the entries' actions. Those that are no longer ongoing are
// missing from the result.
func (s *sweeper) newest(entries []*entry) (map[string]uint64, error) {
	seqs := make(map[string]uint64, len(entries))
	if s.view.isFull() {
		if err := s.follow.catchUp(s.ctx); err != nil {
			return nil, err
		}
		for _, e := range entries {
			if now, ok := s.view.Get(e.ID); ok {
				seqs[e.ID] = now.Seq
			}
		}
		return seqs, nil
	}
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.ID
	}
	all, err := s.some(ids)
	for i := range all {
		seqs[all[i].ID] = all[i].Seq
	}
	return seqs, err
}

// some reads the actions with these ids that are ongoing.
func (s *sweeper) some(ids []string) ([]store.Record, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.readTimeout)
	defer cancel()
	snapshot, err := s.store.Some(ctx, ids)
	if err == nil {
		err = tidySnapshot(&snapshot)
	}
	return snapshot.Records, err
}

// runnersAtOnce is the number of runners that the keeper examines at once. The keeper is usually a process in a crowd,
// of which each should be small, and the crowd may have begun all at once.
const runnersAtOnce = 64

// judgeInParts judges actions of other runners like judgeAll, but those of few runners at once.
func (s *sweeper) judgeInParts(w *watching, entries []*entry) error {
	slices.SortFunc(entries, func(a, b *entry) int { return strings.Compare(a.Runner.ID, b.Runner.ID) })
	for startOver := w.startOver; len(entries) > 0; {
		n := ofRunners(entries, runnersAtOnce)
		w.startOver = startOver // for all parts, or for none
		if err := s.judgeAll(w, entries[:n]); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// ofRunners returns how many of the entries, which are sorted by runner, are those of the first n runners.
func ofRunners(entries []*entry, n int) int {
	for i := 1; i < len(entries); i++ {
		if entries[i].Runner.ID != entries[i-1].Runner.ID {
			if n--; n == 0 {
				return i
			}
		}
	}
	return len(entries)
}
