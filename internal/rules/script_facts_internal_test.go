package rules

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// record makes a record of an action from a line of a script.
func (s *script) record(id string, p *phrase) store.Record {
	status, ok := p.status()
	if !ok {
		s.bad("no status")
	}
	r := store.Record{
		Action: kapi.Action{
			ID: id, Title: "t", Status: status, Keys: p.list("holds"), CreatedAt: s.now, UpdatedAt: s.now,
			NotProvenDead: p.has("not-proven-dead"),
			Runner:        &kapi.Runner{ID: runnerOf(id), Host: "h", PID: 1, HeardAt: s.now},
		},
		Fence: s.seq, Waits: p.list("waits"), LateEnd: p.has("ended-late"),
		ReleaseOnFailure: p.has("releases"), DismissFailed: p.has("may-dismiss"),
	}
	if status != kapi.StatusPending {
		r.StartedAt = s.now
	}
	r.Sender, _ = p.text("sender")
	if r.State, _ = p.text("state"); p.has("elsewhere") {
		r.Runner.PID = 0
	}
	r.Silence, _ = p.text("silence")
	r.Runner.HeardAt -= p.duration("heard").Milliseconds()
	if text, ok := p.text("progress"); ok {
		r.Progress = new(must[float64](s, text)(strconv.ParseFloat(text, 64)))
	}
	if fence, ok := p.number("fence"); ok {
		r.Fence = uint64(fence)
	}
	s.define(&r, p)
	if r.Seq = r.Fence; p.has("queued") || len(r.Waits) > 0 {
		r.Ticket = r.Fence
	}
	return r
}

// set runs a line that is not a change.
func (s *script) set(verb string, p *phrase) {
	switch verb {
	case "given":
		s.seq++
		r := s.record(p.first("action"), p)
		for _, key := range r.Holds() {
			s.stored[key] = r.ID
		}
		s.world.apply([]store.Record{r})
		if !r.Status.Ongoing() {
			s.ended[r.ID] = r
		}
	case "later":
		text := p.first("time")
		s.now += must[time.Duration](s, text)(time.ParseDuration(text)).Milliseconds()
	case "transaction":
		s.busy = map[string]bool{}
		for _, key := range p.list("claims") {
			s.busy[key] = true
		}
		if len(s.busy) == 0 && !p.has("ends") {
			s.bad("it claims nothing and does not end")
		}
	case "no-starts":
		s.noStarts = errNoStarts
	case "purge":
		limit := 100
		if len(p.order) > 0 {
			text := p.first("limit")
			limit = must[int](s, text)(strconv.Atoi(text))
		}
		s.purge(Retention(s.now, limit))
	default:
		s.bad("%s is no verb", verb)
	}
}

// A seenAnswer is an answer that a store keeps, and when its action was last noted to be ongoing.
type seenAnswer struct {
	store.Answer
	seen int64
}

// purge does what a store does with a Retention.
func (s *script) purge(keep store.Retention) {
	for i := range s.answers {
		a := &s.answers[i]
		if _, ongoing := s.world.Get(a.Action); ongoing && a.seen < keep.Noted {
			a.seen = keep.Now
		}
	}
	s.answers = slices.DeleteFunc(s.answers, func(a seenAnswer) bool { return a.seen < keep.Answered })
	oldest := slices.SortedFunc(maps.Values(s.ended), func(a, b store.Record) int { return int(a.Seq) - int(b.Seq) })
	for _, r := range oldest[:min(keep.Limit, len(oldest))] {
		if r.UpdatedAt < keep.Before || r.UpdatedAt > keep.Future {
			delete(s.ended, r.ID)
		}
	}
}

func (s *script) look(p *phrase) string {
	const before = time.Hour
	after, slept := p.duration("after"), p.duration("slept")
	o := store.Observation{Silent: p.duration("silent"), SinceBoot: before, Awake: before}
	return SilentAt(o, before+after, before+after-slept, aLease).String()
}

func (s *script) lookup(id string) (r store.Record, ok bool) {
	if r, ok = s.world.Get(id); !ok {
		r, ok = s.ended[id]
	}
	return r, ok
}

// then compares what there is with what a line expects.
func (s *script) then(p *phrase) {
	subject := p.first("action")
	if got := s.effect(subject); got != "" {
		s.check(s.at, "then "+got, s.at.text)
		clear(p.words)
		return
	}
	r, ok := s.lookup(subject)
	got := &phrase{s: s, words: map[string]string{"forgotten": ""}}
	if _, shown := p.text("shown"); shown {
		r.Action, r.Silence = r.Shown(), ""
	}
	if ok {
		got.words = s.facts(&r, p.words)
	}
	s.check(s.at, got.String(), p.String())
	clear(p.words)
}

// effect returns what the last transaction did, in the words of the kind that a line asks for, or "" if
// it asks for something else.
func (s *script) effect(subject string) string {
	var got []string
	switch pl := s.last; {
	case pl == nil:
		return ""
	case subject == "wrote":
		_, records := pl.Writes()
		for _, r := range records {
			got = append(got, r.ID)
		}
	case subject == "adopted":
		got = slices.Clone(pl.adopted)
	case subject == "renewed":
		for id, runner := range pl.renewed {
			if runner != (store.RunnerRecord{ID: id, Host: "h", Lease: aLease}) {
				id = fmt.Sprintf("%+v", runner)
			}
			got = append(got, strings.TrimPrefix(id, "r-"))
		}
		slices.Sort(got)
	case subject == "dismissed":
		for _, d := range pl.Dismissed {
			got = append(got, d.ID+" for "+d.By)
		}
	case subject == "saved", subject == "moved", subject == "disposed":
		got = s.savings(subject)
	case subject == "counted":
		return counted(&pl.Tally)
	default:
		return ""
	}
	if got == nil {
		got = []string{"nothing"}
	}
	return subject + " " + strings.Join(got, ",")
}

func counted(t *Tally) string {
	words := []string{"counted"}
	count := func(what string, n uint64) {
		if n > 0 {
			words = append(words, fmt.Sprintf("%s=%d", what, n))
		}
	}
	count("started", t.Starts)
	for status, n := range t.Ends {
		count(kapi.Status(status).String(), n)
	}
	if len(t.Refused) > 0 {
		words = append(words, "refused="+strings.Join(t.Refused, ","))
	}
	if len(words) == 1 {
		words = append(words, "nothing")
	}
	return strings.Join(words, " ")
}

// facts returns the facts of a record that a script must name, and those that it asks for.
func (s *script) facts(r *store.Record, wanted map[string]string) map[string]string {
	facts := map[string]string{r.Status.String(): ""}
	always := func(name, value string, so bool) {
		if so {
			facts[name] = value
		}
	}
	asked := func(name, value string, so bool) {
		_, named := wanted[name]
		always(name, value, named && so)
	}
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	age := func(at int64) string { return (time.Duration(s.now-at) * time.Millisecond).String() }

	always("holds", strings.Join(r.Keys, ","), len(r.Keys) > 0)
	always("waits", strings.Join(spelled(r.Waits), ","), len(r.Waits) > 0)
	unclaimed := r.Defined != nil && r.Defined.Unclaimed
	always("queued", "", r.Queued() && !r.Waiting() && !unclaimed)
	always("ended-late", "", r.LateEnd)
	always("cancelled-by", r.CancelledBy, r.CancelRequestedAt != 0)
	always("not-proven-dead", "", r.NotProvenDead)
	if asked("silence", r.Silence, true); facts["silence"] == "" {
		always("silent", "", r.Silence != "")
	}
	asked("state", r.State, true)
	asked("waits-for", "nothing", true)
	if w := r.WaitsFor; w != nil && w.Operation != "" {
		asked("waits-for", strings.TrimSuffix(w.Operation+"!"+w.Action, "!"), true)
	} else if w != nil { // an action that has its keys must not have it
		asked("waits-for", strings.TrimSuffix(w.Key+":"+w.Action, ":"), r.Waiting())
		always("waits-for", w.Key, !r.Waiting())
	}
	asked("progress", "unknown", true)
	if r.Progress != nil {
		asked("progress", strconv.FormatFloat(*r.Progress, 'g', -1, 64), true)
	}
	asked("exit", "none", true)
	if r.ExitCode != nil {
		asked("exit", strconv.Itoa(*r.ExitCode), true)
	}
	asked("fence", number(r.Fence), true)
	asked("ticket", number(r.Ticket), true)
	asked("seq", number(r.Seq), true)
	asked("updated", age(r.UpdatedAt), true)
	asked("started", "never", true)
	if r.StartedAt != 0 {
		asked("started", age(r.StartedAt), true)
	}
	asked("releases", "", r.ReleaseOnFailure)
	asked("sender", r.Sender, true)
	asked("may-dismiss", "", r.DismissFailed)
	asked("runner", "nobody", true)
	if r.Runner != nil {
		asked("heard", age(r.Runner.HeardAt), true)
		asked("elsewhere", "", r.Runner.PID == 0)
		asked("runner", strings.TrimPrefix(r.Runner.ID, "r-"), true)
	}
	if r.Defined != nil {
		definedFacts(r, always, asked)
	}
	return facts
}
