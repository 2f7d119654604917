package kapi

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"
)

// A plan applies the changes of a batch, one after the other, to copies of the records
// concerned. It lives inside one write transaction, in which the view is exact.
type plan struct {
	view    *view
	now     int64
	seq     uint64
	found   map[string]*Record // what the view doesn't have: tombstones
	beats   map[string]uint64
	touched map[string]*touched
	keys    map[string]string // holders of the keys that changed hands; "" is nobody

	remote     func(Record) Remote
	lease      time.Duration
	renewed    map[string]RunnerRecord
	noStarts   error    // why nothing may be started
	answers    []Answer // that were given before, in this transaction too
	newAnswers []Answer

	adopted []string          // recorded starts that are
	claimed map[string]string // key -> the adopted action that the store has as its holder
	busy    map[string]bool   // keys that an open transaction claims

	queues bool // somebody waits, or did when the transaction began
	moved  bool // something changed that those who wait may wait for

	dismissed []dismissal // for those who wait

	tally tally
}

// A dismissal is one for an action that waits.
type dismissal struct {
	Action // as it was before
	by     string
}

type touched struct {
	Record
	insert bool
}

func newPlan(p *Peer, l Loaded, now int64) *plan {
	pl := &plan{
		view: p.view, now: now, remote: p.remote, lease: p.opts.Lease, answers: l.Answers, seq: l.Seq, beats: l.Beats,
		noStarts: l.NoStarts,
		found:    make(map[string]*Record, len(l.Found)),
		touched:  map[string]*touched{},
		keys:     map[string]string{},
		renewed:  map[string]RunnerRecord{},
		claimed:  map[string]string{},
		queues:   p.view.anyWaits(),
	}
	for i := range l.Found {
		pl.found[l.Found[i].ID] = &l.Found[i]
	}
	for i := range l.Records { // what ended since the view was asked whether it knows it
		if r := &l.Records[i]; !r.Status.Ongoing() {
			pl.found[r.ID] = r
		}
	}
	return pl
}

// add applies one change and leaves its answer in c.
func (pl *plan) add(c *change) {
	pl.apply(c)
	if pl.moved && pl.queues {
		pl.advance()
	}
}

func (pl *plan) apply(c *change) {
	if c.nudge {
		c.err, pl.moved = errUnchanged, true
		if b, _ := pl.blocked(c.wants, false, pl.ahead()); b != nil {
			c.err = b.refusal()
		}
		return
	}
	if c.start != nil {
		c.err = pl.start(c)
		return
	}
	if c.reclaim != nil {
		c.err = pl.reclaim(c)
		return
	}
	old := pl.lookup(c.id)
	if old == nil {
		c.err = ErrUnknown
		return
	}
	c.record = *old
	if c.runner != "" && (old.runnerID() != c.runner || pl.beats[c.runner] != c.beat) {
		c.err = errUnchanged // heard of since it was judged
		return
	}
	next := *old
	c.err = c.apply(&next, pl.now)
	if c.heard && (c.err == nil || errors.Is(c.err, errUnchanged)) {
		pl.heard(&next)
	}
	if c.err == nil {
		c.record = pl.put(next)
	}
}

// start gives the new record all its keys or none, or a place in the queue for them.
func (pl *plan) start(c *change) error {
	if done, err := pl.answered(c); done {
		return err
	}
	if pl.noStarts != nil {
		return pl.noStarts
	}
	b, dismiss := pl.blocked(c.start.Keys, c.dismissFailed, pl.ahead())
	if b != nil {
		b = cmp.Or(pl.circular(c.start.Keys, c.within), b)
	}
	if b != nil && c.wait && !b.circular {
		pl.enqueue(c, b)
		pl.heard(&c.record)
		return pl.keepAnswer(c)
	}
	if b != nil {
		if b.holder != nil && !c.unjudged {
			pl.tally.refused = append(pl.tally.refused, b.key)
		}
		return b.refusal()
	}
	for _, holder := range dismiss {
		next := *holder
		c.dismissed = append(c.dismissed, holder.Shown())
		if err := next.dismiss(pl.now); err != nil {
			return err
		}
		pl.put(next)
	}
	c.record = pl.put(pl.born(c))
	pl.heard(&c.record)
	return pl.keepAnswer(c)
}

// born completes the record of a start.
func (pl *plan) born(c *change) Record {
	next := *c.start
	next.CreatedAt, next.UpdatedAt = pl.now, pl.now
	if next.Status == StatusRunning {
		next.StartedAt = pl.now
	}
	if next.Runner != nil {
		runner := *next.Runner
		runner.HeardAt = pl.now
		next.Runner = &runner
	}
	next.Fence = pl.seq + 1
	return next
}

// put gives a changed record the next seq.
func (pl *plan) put(r Record) Record {
	old := pl.lookup(r.ID)
	pl.seq++
	r.Seq = pl.seq
	pl.tally.change(old, &r)
	if old != nil {
		for _, key := range old.Keys {
			pl.keys[key] = ""
		}
	}
	for _, key := range r.Keys {
		pl.keys[key] = r.ID
	}
	pl.queues = pl.queues || r.waiting()
	pl.moved = pl.moved || r.queued() || old != nil && (old.Status != r.Status || old.workMayGoOn() != r.workMayGoOn())
	if t := pl.touched[r.ID]; t != nil {
		t.Record = r
	} else {
		pl.touched[r.ID] = &touched{Record: r, insert: old == nil}
	}
	return r
}

func (pl *plan) lookup(id string) *Record {
	if t := pl.touched[id]; t != nil {
		return &t.Record
	}
	if r, ok := pl.view.get(id); ok {
		return &r
	}
	return pl.found[id]
}

func (pl *plan) holder(key string) string {
	if id, ok := pl.keys[key]; ok {
		return id
	}
	return pl.view.holder(key)
}

// writes returns what the store has to write, and the records in order of seq.
func (pl *plan) writes() (Writes, []Record) {
	w := Writes{
		Head: pl.seq, Answers: pl.newAnswers, Adopted: pl.adopted,
		Runners: slices.Collect(maps.Values(pl.renewed)),
	}
	records := make([]Record, 0, len(pl.touched))
	for _, t := range pl.touched {
		records = append(records, t.Record)
	}
	slices.SortFunc(records, func(a, b Record) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, r := range records {
		if pl.touched[r.ID].insert {
			w.Insert = append(w.Insert, r)
		} else {
			w.Update = append(w.Update, r)
		}
	}
	for key, id := range pl.keys {
		before := cmp.Or(pl.claimed[key], pl.view.holder(key))
		if before == id {
			continue
		}
		if before != "" {
			w.Free = append(w.Free, key)
		}
		if id != "" {
			w.Claim = append(w.Claim, Claim{Key: key, Action: id})
		}
	}
	return w, records
}
