package rules

import "github.com/kettubot/kapi/internal/store"

// A Partial is the Picture of a store for a light peer, whose view lacks the actions of others: what one
// transaction has read, which is only the records that its changes concern. It is for one plan.
type Partial struct {
	records map[string]*store.Record
	waiting []*store.Record
	holders map[string]string
	missing []string
}

// NewPartial returns the picture of what was loaded for a light batch.
func NewPartial(l *store.Loaded) *Partial {
	p := &Partial{records: make(map[string]*store.Record, len(l.Found)), holders: make(map[string]string, len(l.Held))}
	for i := range l.Found {
		r := &l.Found[i]
		if !r.Status.Ongoing() {
			continue
		}
		p.records[r.ID] = r
		if r.Waiting() {
			p.waiting = append(p.waiting, r)
		}
		for _, key := range r.Keys {
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

// Waiting implements Picture.
func (p *Partial) Waiting() []*store.Record { return p.waiting }

// Missing returns the keys that the plan asked for and that were not looked up. If there are any, the
// plan is invalid: the transaction must be run again with these keys.
func (p *Partial) Missing() []string { return p.missing }
