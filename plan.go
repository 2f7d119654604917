package kapi

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"
)

// A picture is what is ongoing, as of the head that a transaction has read.
type picture interface {
	// Get returns the record of an ongoing action.
	Get(id string) (Record, bool)
	// Holder returns the id of the action that holds a key, "" if none does.
	Holder(key string) string
	// Waiting returns the records of those that wait for keys, in any order.
	Waiting() []*Record
}

// Limits are what a plan is told by whoever makes it.
type limits struct {
	// lease is that of runners which report over a server.
	lease time.Duration
	// answer encodes what the start of an action is answered, to be kept.
	answer func(*Record) ([]byte, error)
}

// A plan applies the changes of a batch, one after the other, to copies of the records
// concerned. It lives inside one write transaction, in which the picture is exact.
type plan struct {
	world   picture
	limits  limits
	now     int64
	seq     uint64
	found   map[string]*Record // what the picture doesn't have: tombstones
	beats   map[string]uint64
	touched map[string]*touched
	keys    map[string]string // holders of the keys that changed hands; "" is nobody

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

// newPlan begins a plan on what a transaction has loaded, at a time (ms since 1970). busy are keys
// that transactions claim which are still open.
func newPlan(world picture, l Loaded, busy map[string]bool, now int64, limits limits) *plan {
	pl := &plan{
		world: world, limits: limits, now: now, answers: l.Answers, seq: l.Seq, beats: l.Beats,
		noStarts: l.NoStarts,
		found:    make(map[string]*Record, len(l.Found)),
		touched:  map[string]*touched{},
		keys:     map[string]string{},
		renewed:  map[string]RunnerRecord{},
		claimed:  map[string]string{},
		busy:     busy,
		queues:   len(world.Waiting()) > 0,
	}
	for i := range l.Found {
		pl.found[l.Found[i].ID] = &l.Found[i]
	}
	for i := range l.Records { // what ended since the picture was asked whether it knows it
		if r := &l.Records[i]; !r.Status.Ongoing() {
			pl.found[r.ID] = r
		}
	}
	return pl
}

// add applies one change.
func (pl *plan) add(c *change) outcome {
	var o outcome
	err := pl.apply(c, &o)
	if pl.moved && pl.queues {
		pl.advance()
	}
	o.changed = err == nil
	if !errors.Is(err, errUnchanged) {
		o.err = err
	}
	return o
}

func (pl *plan) apply(c *change, o *outcome) error {
	switch c.kind {
	case kindNudge:
		pl.moved = true
		if b, _ := pl.blocked(c.wants, false, pl.ahead()); b != nil {
			return b.refusal()
		}
		return errUnchanged
	case kindStart:
		return pl.start(c, o)
	case kindReclaim:
		return pl.reclaim(c, o)
	}
	old := pl.lookup(c.id)
	if old == nil {
		return ErrUnknown
	}
	o.record = *old
	if c.runner != "" && (old.runnerID() != c.runner || pl.beats[c.runner] != c.beat) {
		return errUnchanged // heard of since it was judged
	}
	next := *old
	err := c.applyTo(&next, pl.now)
	if c.heard && (err == nil || errors.Is(err, errUnchanged)) {
		pl.heard(&next)
	}
	if err == nil {
		o.record = pl.put(next)
	}
	return err
}

// start gives the new record all its keys or none, or a place in the queue for them.
func (pl *plan) start(c *change, o *outcome) error {
	if done, err := pl.answered(c, o); done {
		return err
	}
	if pl.noStarts != nil {
		return pl.noStarts
	}
	b, dismissed := pl.blocked(c.action.Keys, c.dismissFailed, pl.ahead())
	if b != nil {
		b = cmp.Or(pl.circular(c.action.Keys, c.within), b)
	}
	if b != nil && c.wait && !b.circular {
		o.record = pl.enqueue(c, b)
		pl.heard(&o.record)
		return pl.keepAnswer(c, o)
	}
	if b != nil {
		if b.holder != nil && !c.unjudged {
			pl.tally.refused = append(pl.tally.refused, b.key)
		}
		return b.refusal()
	}
	for _, holder := range dismissed {
		next := *holder
		o.dismissed = append(o.dismissed, holder.Shown())
		if err := dismiss(&next, pl.now); err != nil {
			return err
		}
		pl.put(next)
	}
	o.record = pl.put(pl.born(c.action))
	pl.heard(&o.record)
	return pl.keepAnswer(c, o)
}

// born completes the record of a start.
func (pl *plan) born(r *Record) Record {
	next := *r
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
	if r, ok := pl.world.Get(id); ok {
		return &r
	}
	return pl.found[id]
}

func (pl *plan) holder(key string) string {
	if id, ok := pl.keys[key]; ok {
		return id
	}
	return pl.world.Holder(key)
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
		before := cmp.Or(pl.claimed[key], pl.world.Holder(key))
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

// adopt gives a recorded start its seq.
func (pl *plan) adopt(s RecordedStart) error {
	r, err := s.Record()
	if err != nil {
		return err
	}
	pl.adopted = append(pl.adopted, s.ID)
	for _, key := range s.Keys {
		pl.claimed[key] = s.ID
	}
	r = pl.born(&r)
	r.Ticket = r.Fence
	pl.put(r)
	return nil
}

// reclaim puts a record back.
func (pl *plan) reclaim(c *change, o *outcome) error {
	if old := pl.lookup(c.action.ID); old != nil {
		o.record = *old
		if !old.Status.Ongoing() {
			return ErrUnknown
		}
		return errUnchanged
	}
	if pl.noStarts != nil {
		return pl.noStarts
	}
	next := *c.action
	next.Silence = ""
	pl.seq = max(pl.seq, next.Seq, next.Fence) // fences grow, also over those that were lost
	// It runs, so it goes before those who wait.
	if b, _ := pl.blocked(next.Keys, false, wanted{}); b != nil {
		o.lostTo, next.Keys = b.refusal(), nil
	}
	touch(&next, pl.now, true)
	o.record = pl.put(next)
	pl.tally.starts-- // it was counted when it began
	return nil
}

// heard renews the lease of an action's runner elsewhere.
func (pl *plan) heard(r *Record) {
	if r.Runner == nil || r.Runner.PID != 0 || !r.Status.Active() {
		return // a runner that is a peer renews for itself
	}
	pl.renewed[r.Runner.ID] = RunnerRecord{ID: r.Runner.ID, Host: r.Runner.Host, Lease: pl.limits.lease}
}
