package rules

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// Limits are the settings of a plan.
type Limits struct {
	// Lease is the lease of runners that report through a server.
	Lease time.Duration
	// Self is the runner id of the peer that plans.
	Self string
}

// A Plan applies the changes of a batch, one after the other, to copies of the records
// concerned. It lives inside one write transaction, in which the picture is exact.
type Plan struct {
	world   Picture
	limits  Limits
	now     int64
	seq     uint64
	found   map[string]*store.Record // records that the picture doesn't have: tombstones
	beats   map[string]uint64
	marks   map[string]store.CheckpointMark
	touched map[string]*touched
	keys    map[string]string // holders of the keys that changed hands; "" is none

	renewed    map[string]store.RunnerRecord
	noStarts   error          // why nothing may be started
	answers    []store.Answer // given before, including in this transaction
	newAnswers []store.Answer

	wake    []string          // Writes.Wake
	adopted []string          // recorded starts that were adopted
	claimed map[string]string // key -> the adopted action that the store has as its holder
	busy    map[string]bool   // keys that an open transaction claims

	queues bool                // an action may wait
	moved  map[string]struct{} // keys whose waiters may be unblocked, or wait for something else now
	joined map[string][]string // key -> the actions that were put while they waited for it

	saved    []store.Saved
	moves    []store.Move
	newMarks map[string]store.CheckpointMark

	Dismissed []Dismissal // for waiting actions

	Tally Tally
}

// A Dismissal is a failed action that was dismissed for a waiting one.
type Dismissal struct {
	kapi.Action        // as it was before
	By          string // the id of the waiting action
}

type touched struct {
	store.Record
	insert bool
}

// NewPlan begins a plan on what a transaction has loaded. now is in milliseconds since 1970-01-01 UTC,
// and busy has the keys that open transactions claim.
func NewPlan(world Picture, l store.Loaded, busy map[string]bool, now int64, limits Limits) *Plan {
	pl := &Plan{
		world: world, limits: limits, now: now, answers: l.Answers, seq: l.Seq, beats: l.Beats, marks: l.Marks,
		noStarts: l.NoStarts,
		found:    make(map[string]*store.Record, len(l.Found)),
		touched:  map[string]*touched{},
		keys:     map[string]string{},
		renewed:  map[string]store.RunnerRecord{},
		claimed:  map[string]string{},
		newMarks: map[string]store.CheckpointMark{},
		busy:     busy,
		queues:   world.Waits(),
	}
	for i := range l.Found {
		pl.found[l.Found[i].ID] = &l.Found[i]
	}
	for i := range l.Records { // from the feed: actions that have ended, which the picture no longer has
		if r := &l.Records[i]; !r.Status.Ongoing() {
			pl.found[r.ID] = r
		}
	}
	return pl
}

// Add applies one change. The queue advances later, once for all changes of the batch.
func (pl *Plan) Add(c *Change) Outcome {
	var o Outcome
	err := pl.apply(c, &o)
	o.Changed = err == nil
	if !errors.Is(err, errUnchanged) {
		o.Err = err
	}
	return o
}

func (pl *Plan) apply(c *Change, o *Outcome) error {
	switch c.Kind {
	case KindNudge:
		pl.stir(c.Wants)
		pl.stir(c.Stalled)
		if b, _ := pl.blocked(need{keys: c.Wants}, false, pl.ahead(c.Wants)); b != nil {
			return b.refusal()
		}
		return errUnchanged
	case KindStart:
		return pl.start(c, o)
	case KindReclaim:
		return pl.reclaim(c, o)
	}
	old := pl.lookup(c.ID)
	if old == nil || c.Sender != "" && old.Sender != c.Sender {
		return kapi.ErrUnknown
	}
	o.Record = *old
	if c.Runner != "" && (old.RunnerID() != c.Runner || pl.beats[c.Runner] != c.Beat) {
		return errUnchanged // the runner was heard since it was judged
	}
	if c.Kind == KindSave {
		return pl.saveCheckpoints(c, old)
	}
	next := *old
	err := pl.change(c, &next, o)
	if c.Heard && (err == nil || errors.Is(err, errUnchanged)) {
		pl.heard(&next)
	}
	if err == nil {
		o.Record = pl.put(next)
	}
	return err
}

// change applies a change to an existing action.
func (pl *Plan) change(c *Change, r *store.Record, o *Outcome) error {
	switch {
	case c.Kind == KindClaim:
		return pl.claim(c, r, o)
	case c.Kind == KindVacate:
		return pl.handOver(c, r)
	case c.Kind == KindVerdict && mayVacate(r, c.Verdict):
		how := "died"
		if !c.Verdict.ended {
			how = "is silent"
		}
		return pl.bury(r, c.Verdict, how)
	}
	return c.applyTo(r, pl.now)
}

// put gives a changed record the next seq.
func (pl *Plan) put(r store.Record) store.Record {
	old := pl.lookup(r.ID)
	if old != nil && pl.concerns(old, &r) {
		pl.wake = append(pl.wake, old.Runner.ID)
	}
	pl.seq++
	r.Seq = pl.seq
	pl.Tally.Change(old, &r)
	if old != nil {
		for _, key := range old.Holds() {
			pl.keys[key] = ""
		}
	}
	for _, key := range r.Holds() {
		pl.keys[key] = r.ID
	}
	pl.noteQueue(old, &r)
	if t := pl.touched[r.ID]; t != nil {
		t.Record = r
	} else {
		pl.touched[r.ID] = &touched{Record: r, insert: old == nil}
	}
	return r
}

// concerns reports whether a change matters to the action's runner, which is another peer: for example a cancel,
// a grant, a pause or a loss, but not another reason to wait (see advanceOnce).
func (pl *Plan) concerns(old, now *store.Record) bool {
	if !pl.elsewhere(old) || !old.Status.Ongoing() {
		return false
	}
	return old.Status != now.Status || old.Fence != now.Fence || old.RunnerID() != now.RunnerID() || old.Waiting() != now.Waiting() ||
		old.Silence != now.Silence || old.CancelRequestedAt != now.CancelRequestedAt || old.PausedBy != now.PausedBy || old.NotProvenDead != now.NotProvenDead
}

// elsewhere reports whether the action's runner is another peer.
func (pl *Plan) elsewhere(r *store.Record) bool {
	return r.Runner != nil && r.Runner.PID != 0 && r.Runner.ID != pl.limits.Self
}

func (pl *Plan) lookup(id string) *store.Record {
	if t := pl.touched[id]; t != nil {
		return &t.Record
	}
	if r, ok := pl.world.Get(id); ok {
		return &r
	}
	return pl.found[id]
}

func (pl *Plan) holder(key string) string {
	if id, ok := pl.keys[key]; ok {
		return id
	}
	return pl.world.Holder(key)
}

// Writes returns what the store has to write, and the records in order of seq.
func (pl *Plan) Writes() (store.Writes, []store.Record) {
	pl.advance()
	w := store.Writes{
		Head: pl.seq, Answers: pl.newAnswers, Wake: pl.wake, Adopted: pl.adopted,
		Runners: slices.Collect(maps.Values(pl.renewed)),
	}
	records := make([]store.Record, 0, len(pl.touched))
	for _, t := range pl.touched {
		records = append(records, t.Record)
	}
	slices.SortFunc(records, func(a, b store.Record) int { return cmp.Compare(a.Seq, b.Seq) })
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
			w.Claim = append(w.Claim, store.Claim{Key: key, Action: id})
		}
	}
	pl.savings(&w, records)
	return w, records
}

// heard renews the lease of an action's runner, if that is elsewhere.
func (pl *Plan) heard(r *store.Record) {
	if r.Runner == nil || r.Runner.PID != 0 || !r.Status.Active() {
		return // a runner that is a peer renews its own lease
	}
	pl.renewed[r.Runner.ID] = store.RunnerRecord{ID: r.Runner.ID, Host: r.Runner.Host, Lease: pl.limits.Lease}
}
