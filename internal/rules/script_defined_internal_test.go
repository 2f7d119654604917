package rules

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// What only the actions of defined operations have in scripts.

// changeDefined is change for their changes.
func (s *script) changeDefined(verb string, p *phrase) func(*Plan) string {
	kind, ok := map[string]Kind{
		"claim": KindClaim, "save": KindSave, "vacate": KindVacate, "forbid": KindForbid, "pause": KindPause,
		"unpause": KindContinue, "abandon": KindAbandon, "explain": KindExplain,
	}[verb]
	if !ok {
		return nil
	}
	c := Change{Kind: kind, ID: p.first("action"), Reason: "no runner took it over in time"}
	switch kind {
	case KindClaim:
		s.claim(&c, p)
	case KindSave:
		name, _ := p.text("name")
		version, _ := p.number("version")
		c.Saved = []store.Saved{{Name: name, Version: version, Data: []byte("{}")}}
	case KindForbid, KindExplain:
		c.Reason, _ = p.text("reason")
	case KindPause:
		c.By = p.by()
	case KindVacate:
		c.Late = p.has("late")
	}
	stale, byTicket := p.has("stale"), p.has("by-ticket")
	return func(pl *Plan) string {
		c.Fence = fenceOf(pl, c.ID, stale, byTicket)
		return s.apply(pl, c)
	}
}

func (s *script) claim(c *Change, p *phrase) {
	as, ok := p.text("as")
	if !ok {
		as = c.ID
	}
	p.words["op"] = "" // that of the action
	r := store.Record{Action: kapi.Action{Keys: p.list("wants"), Runner: &kapi.Runner{ID: runnerOf(as), Host: "h", PID: 1}}}
	s.define(&r, p)
	c.Reads, _ = p.number("reads")
	c.Action, c.Unjudged = &r, p.has("unjudged")
}

func (p *phrase) refusal() *store.Refusal {
	if text, ok := p.text("refusal"); ok {
		return &store.Refusal{Preflight: text}
	}
	return nil
}

// recorded makes the start that a transaction has recorded.
func (s *script) recorded(id string, p *phrase) store.RecordedStart {
	r := store.Record{
		Action:           kapi.Action{ID: id, Title: "t", Keys: p.list("wants"), Runner: &kapi.Runner{ID: runnerOf(id), Host: "h", PID: 1}},
		ReleaseOnFailure: true,
	}
	if s.define(&r, p); r.Defined != nil && r.Defined.Unclaimed {
		r.Runner = nil
	}
	start, err := store.Recorded(&r)
	if err != nil {
		s.bad("%v", err)
	}
	return start
}

// define sets what a line says of a defined operation, if it names one.
func (s *script) define(r *store.Record, p *phrase) {
	operation, ok := p.text("op")
	if !ok {
		return
	}
	number := func(name string) int {
		n, _ := p.number(name)
		return n
	}
	text := func(name string) string {
		value, _ := p.text(name)
		return value
	}
	r.Operation, r.NoCancel, r.PausedBy, r.Attempt = operation, text("no-cancel"), text("paused-by"), number("attempt")
	r.Defined = &store.Defined{
		Limit: number("limit"), Turn: number("turn"), Unclaimed: p.has("unclaimed"), MayWait: p.has("waits-if-held"),
		Continues: text("continues"), Origin: r.ID, Resumable: p.has("resumable"), Takeovers: number("takeovers"),
		Vacant: p.has("vacant"), HandedOver: p.has("handed-over"), Version: number("version"),
		Deaths: number("deaths"), Parked: p.has("parked"), Said: text("said"),
	}
	if origin, ok := p.text("origin"); ok {
		r.Defined.Origin = origin
	}
	if r.Defined.Vacant {
		if p.has("unproven") {
			r.Defined.Last = r.Runner
		}
		r.Runner = nil
	}
	if len(r.Waits) > 0 && r.Defined.Limit > 0 {
		r.Waits = append(r.Waits, store.TurnsKey(operation))
	}
}

// definedFacts adds the facts of the action of a defined operation.
func definedFacts(r *store.Record, always, asked func(name, value string, so bool)) {
	d := r.Defined
	always("turn", strconv.Itoa(d.Turn), d.Turn != 0)
	always("unclaimed", "", d.Unclaimed)
	always("vacant", "", d.Vacant)
	always("parked", "", d.Parked)
	always("paused-by", r.PausedBy, r.PausedBy != "")
	always("no-cancel", r.NoCancel, r.NoCancel != "")
	for name, n := range map[string]int{
		"limit": d.Limit, "takeovers": d.Takeovers, "attempt": r.Attempt, "deaths": d.Deaths, "version": d.Version,
	} {
		asked(name, strconv.Itoa(n), true)
	}
	asked("op", r.Operation, true)
	asked("origin", d.Origin, true)
	asked("continues", d.Continues, true)
	asked("said", d.Said, true)
	asked("handed-over", "", d.HandedOver)
	asked("unproven", "", d.Last != nil)
	asked("resumable", "", d.Resumable)
	asked("refusal", "nothing", true)
	if d.Refusal != nil {
		asked("refusal", refusal(RefusalError(r.Operation, d.Refusal)), true)
	}
}

// savings returns what the last transaction did with what is saved for actions.
func (s *script) savings(subject string) (got []string) {
	w, _ := s.last.Writes()
	switch subject {
	case "saved":
		for _, saved := range w.Saved {
			if saved.Name == store.ArgumentsName {
				saved.Name = "arguments"
			}
			got = append(got, saved.Action+":"+saved.Name)
		}
	case "moved":
		for _, m := range w.Moves {
			got = append(got, m.From+">"+m.To)
		}
	case "disposed":
		got = slices.Clone(w.Disposed)
	}
	return got
}

// keep does what a store does with what is saved for actions.
func (s *script) keep(w store.Writes) {
	for _, m := range w.Moves {
		s.marks[m.To] = s.marks[m.From]
		delete(s.marks, m.From)
	}
	for _, id := range w.Disposed {
		delete(s.marks, id)
	}
	for _, saved := range w.Saved {
		if r, ok := s.world.Get(saved.Action); !ok || r.Defined == nil {
			s.bad("%s", fmt.Sprintf("something is saved for %s, which is no ongoing action of an operation", saved.Action))
		}
		if saved.Name == store.ArgumentsName {
			continue
		}
		mark := s.marks[saved.Action]
		s.marks[saved.Action] = store.CheckpointMark{Saves: mark.Saves + 1, Version: saved.Version}
	}
}

// spelled returns what an action waits for, in the words of scripts.
func spelled(waits []string) []string {
	waits = slices.Clone(waits)
	if last := len(waits) - 1; last >= 0 && store.IsTurn(waits[last]) {
		waits[last] = waits[last][1:] + "/turn"
	}
	return waits
}
