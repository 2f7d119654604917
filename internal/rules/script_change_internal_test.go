package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// change returns a function that applies a change of a script to a plan and returns its outcome in words,
// or nil if the verb is not that of a change.
func (s *script) change(verb string, p *phrase) func(*Plan) string {
	if verb == "nudge" {
		return s.applying(Change{Kind: KindNudge, Wants: p.list("wants"), Stalled: p.list("stalled")})
	}
	if do := s.changeDefined(verb, p); do != nil {
		return do
	}
	if !slices.Contains([]string{"start", "adopt", "report", "judge", "restore", "dismiss", "cancel", "give-up", "reclaim"}, verb) {
		return nil
	}
	c := Change{ID: p.first("action")}
	switch verb {
	case "start":
		return s.applying(s.start(c.ID, p))
	case "adopt":
		start := s.recorded(c.ID, p)
		for _, key := range start.Keys { // the transaction has claimed it
			s.stored[key] = c.ID
		}
		return func(pl *Plan) string { return refusal(pl.Adopt(start)) }
	case "report":
		return s.report(c.ID, p)
	case "judge":
		return s.judge(c.ID, p)
	case "restore":
		stale := p.has("stale")
		return func(pl *Plan) string {
			return s.apply(pl, Change{Kind: KindRestore, ID: c.ID, Fence: fenceOf(pl, c.ID, stale, false)})
		}
	case "dismiss":
		c.Kind = KindDismiss
	case "cancel":
		c.Kind, c.By, c.Sender = KindCancel, p.by(), p.sender()
	case "give-up":
		c.Kind, c.By, c.Sender = KindGiveUp, p.by(), p.sender()
	case "reclaim":
		r := s.record(c.ID, p)
		c.Kind, c.Action = KindReclaim, &r
	}
	return s.applying(c)
}

func (p *phrase) by() string {
	by, ok := p.text("by")
	if !ok {
		p.s.bad("by nobody")
	}
	return by
}

func (p *phrase) sender() string {
	sender, _ := p.text("of-sender")
	return sender
}

func (s *script) applying(c Change) func(*Plan) string {
	return func(pl *Plan) string { return s.apply(pl, c) }
}

// apply adds a change to a plan. A change that is refused, or alters nothing, must take no seq.
func (s *script) apply(pl *Plan, c Change) string {
	before := pl.seq
	o := pl.Add(&c)
	if c.Kind != KindNudge && !(o.Changed && o.Err == nil) && pl.seq != before {
		s.t.Errorf("%s:%d: %v, but it took a seq", s.file, s.at.number, o.Err)
	}
	var dismissed []string
	for _, a := range o.Dismissed {
		dismissed = append(dismissed, a.ID)
	}
	switch {
	case o.Err != nil:
		return refusal(o.Err)
	case !o.Changed:
		return "unchanged"
	case o.LostTo != nil:
		return "lost: " + refusal(o.LostTo)
	case o.Kept != nil && o.Record.ID == "":
		var before kapi.Remote
		if err := json.Unmarshal(o.Kept.Body, &before); err != nil {
			return err.Error()
		}
		return fmt.Sprintf("as before: %s %v", before.Action.ID, before.Action.Status)
	case len(dismissed) > 0:
		return "dismisses " + strings.Join(dismissed, ",")
	}
	return ""
}

var errNoStarts = errors.New("a newer kapi allows no starts")

// refusal puts an error into the words of scripts.
func refusal(err error) string {
	var held *kapi.HeldError
	var busy *store.BusyError
	var move *kapi.MoveError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &held) && held.Operation != "":
		return fmt.Sprintf("%s is at its limit of %d, first %s%s", held.Operation, held.Limit, held.Holder.ID,
			map[bool]string{true: ", in a circle"}[held.Circular])
	case errors.As(err, &held):
		how := map[bool]string{true: "waited for", false: "held"}[held.Waiting()]
		text := fmt.Sprintf("%s is %s by %s", held.Key, how, held.Holder.ID)
		if held.Holder.NotProvenDead {
			text += ", not proven dead"
		}
		if held.Circular {
			text += ", in a circle"
		}
		return text
	case errors.As(err, &busy):
		return strings.Join(busy.Keys, ",") + " is claimed by a transaction"
	case errors.As(err, &move):
		return fmt.Sprintf("no move from %s to %s", move.From, move.To)
	}
	for is, words := range map[error]string{
		kapi.ErrUnknown: "unknown", kapi.ErrNotFailed: "not failed", kapi.ErrWaiting: "no keys yet",
		kapi.ErrStaleFence: "stale fence", kapi.ErrGivenUp: "given up", kapi.ErrOtherRequest: "another request",
		errNoStarts: "no starts",
	} {
		if errors.Is(err, is) {
			return words
		}
	}
	return err.Error()
}

func (s *script) start(id string, p *phrase) Change {
	if _, ok := p.words["pending"]; !ok {
		p.words["running"] = ""
	}
	c := Change{
		Kind: KindStart, Wait: p.has("may-wait"), DismissFailed: p.has("may-dismiss"), Unjudged: p.has("unjudged"),
		Within: p.list("within"),
	}
	if request, ok := p.text("asks"); ok {
		body, _ := p.text("body")
		sender, _ := p.text("by")
		c.Asked = &store.Answer{Request: store.Request{By: sender, Key: request}, Hash: []byte(body)}
	}
	keys := p.list("wants")
	r := s.record(id, p)
	if r.Keys != nil {
		s.bad("a start wants its keys")
	}
	r.Keys, r.StartedAt = keys, 0
	if r.Defined != nil && r.Defined.Unclaimed {
		r.Runner = nil
	}
	if text, ok := p.text("arguments"); ok {
		c.Saved = []store.Saved{{Name: store.ArgumentsName, Data: []byte(text)}}
	}
	c.Action = &r
	return c
}

// fenceOf returns the fence that a runner would name.
func fenceOf(pl *Plan, id string, stale, byTicket bool) uint64 {
	r := pl.lookup(id)
	switch {
	case r == nil:
		return 0
	case byTicket:
		return r.Pass()
	case stale:
		return r.Fence - 1
	}
	return r.Fence
}

func (s *script) report(id string, p *phrase) func(*Plan) string {
	c := Change{Kind: KindReport, ID: id, Heard: p.has("heard"), Sender: p.sender()}
	if status, moves := p.status(); moves && status == kapi.StatusPending {
		s.bad("0 is no move")
	} else {
		c.Report.Status = status
	}
	c.Report.NotProvenDead, c.Report.ResetProgress = p.has("not-proven-dead"), p.has("reset")
	c.Report.Parked, c.Refusal = p.has("parked"), p.refusal()
	c.Report.Again, _ = p.number("again")
	if text, ok := p.text("progress"); ok {
		c.Report.Progress = new(must[float64](s, text)(strconv.ParseFloat(text, 64)))
	}
	if text, ok := p.text("state"); ok {
		c.Report.State = &text
	}
	if code, ok := p.number("exit"); ok {
		c.Report.ExitCode = &code
	}
	stale, byTicket := p.has("stale"), p.has("by-ticket")
	return func(pl *Plan) string {
		c.Report.Fence = fenceOf(pl, id, stale, byTicket)
		return s.apply(pl, c)
	}
}

// aBeat is how often each runner has renewed its lease.
const aBeat = 4

func runnerOf(id string) string { return "r-" + id }

// judge makes a verdict from what a peer knows now, to be applied in the next transaction.
func (s *script) judge(id string, p *phrase) func(*Plan) string {
	r, ok := s.lookup(id)
	if !ok {
		s.bad("nothing to judge")
	}
	ev := Evidence{
		Host: r.Runner.Host, PID: r.Runner.PID, HeardAt: r.Runner.HeardAt, Beat: aBeat,
		Silent: p.duration("silent"), Lease: aLease, GiveUp: aGiveUp,
		Stopped: p.has("stopped"), Restarted: p.has("restarted"), Unseen: p.has("unseen"), Working: p.has("working"),
		Remains: Remains{Sure: p.processes("left"), Maybe: p.processes("maybe-left"), Hidden: p.has("hidden"), Starting: p.has("starting")},
	}
	switch {
	case p.has("gone"):
		ev.Life = LifeGone
	case p.has("alive"):
		ev.Life = LifeAlive
	}
	c := Change{Kind: KindVerdict, ID: id, Verdict: Judge(&r, ev), Runner: r.RunnerID(), Beat: ev.Beat}
	if p.has("renewed") {
		c.Beat--
	}
	if runner, ok := p.text("of-runner"); ok {
		c.Runner = runner
	}
	if c.Verdict == (Verdict{}) {
		return func(*Plan) string { return "no verdict" }
	}
	return s.applying(c)
}

func (p *phrase) processes(how string) (all []Process) {
	for i, name := range p.list(how) {
		all = append(all, Process{12 + i, name})
	}
	return all
}
