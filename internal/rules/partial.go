package rules

import (
	"slices"

	"github.com/kettubot/kapi/internal/store"
)

// A Partial is the Picture of a store for a light peer, whose view lacks the actions of others: what one
// transaction has read, which is only the records that its changes concern. It is for one plan.
type Partial struct {
	records map[string]*store.Record
	holders map[string]string
	queues  map[string][]*store.Record
	looked  map[string]string // the keys that were looked up
	noQueue bool
	missing []string
}

// NewPartial returns the picture of what was loaded for a light batch.
func NewPartial(l *store.Loaded) *Partial {
	p := &Partial{
		records: make(map[string]*store.Record, len(l.Found)), holders: make(map[string]string, len(l.Held)),
		looked: l.Held, noQueue: l.NoQueue,
	}
	for i := range l.Found {
		r := &l.Found[i]
		if !r.Status.Ongoing() {
			continue
		}
		p.records[r.ID] = r
		if r.Waiting() {
			p.join(r)
		}
		for _, key := range r.Holds() {
			p.holders[key] = r.ID
		}
	}
	for key, id := range l.Held {
		if p.records[id] == nil {
			id = "" // a recorded start that is not adopted yet
		}
		p.holders[key] = id
	}
	return p
}

// Get implements Picture.
func (p *Partial) Get(id string) (store.Record, bool) {
	if r := p.records[id]; r != nil {
		return *r, true
	}
	return store.Record{}, false
}

// Holder implements Picture. It adds a key that was not looked up to Missing.
func (p *Partial) Holder(key string) string {
	id, known := p.holders[key]
	if !known {
		p.holders[key] = ""
		p.missing = append(p.missing, key)
	}
	return id
}

// Queue implements Picture. It adds a key that was not looked up to Missing.
func (p *Partial) Queue(key string) []*store.Record {
	if _, known := p.looked[key]; !known && !p.noQueue && !slices.Contains(p.missing, key) {
		p.missing = append(p.missing, key)
	}
	return p.queues[key]
}

// Waits implements Picture.
func (p *Partial) Waits() bool { return !p.noQueue }

func (p *Partial) join(r *store.Record) {
	if p.queues == nil {
		p.queues = map[string][]*store.Record{}
	}
	for _, key := range r.Waits {
		p.queues[key] = append(p.queues[key], r)
	}
}

// Continued returns the ids of the failed actions that others continue and that were not loaded, if they exist. The
// transaction must be run again with those that it has not named in Batch.Find yet.
func (p *Partial) Continued() (ids []string) {
	for _, r := range p.records {
		if d := r.Defined; d != nil && d.Continues != "" && p.records[d.Continues] == nil && r.Queued() {
			ids = append(ids, d.Continues)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Missing returns the keys that the plan asked for and that were not looked up. If there are any, the
// plan is invalid: the transaction must be run again with these keys.
func (p *Partial) Missing() []string { return p.missing }
