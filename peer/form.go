package peer

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/internal/wellformed"
)

// Other programs may write to a store: a file in a folder that others can write to, a database with
// other users. Its texts are shown in terminals and pages, offered in commands to copy, and sent to
// clients. So records are checked once, when they are read. A store with an id that kapi can't have
// made is refused, because such an action can't be named safely; texts that are only shown are
// cleaned up.

// tidyPage checks and cleans up a page of the feed.
func tidyPage(p *store.Page) error {
	if !store.IsID(p.Epoch) {
		return notOurs("epoch", p.Epoch)
	}
	return tidyAll(p.Records)
}

// tidySnapshot checks and cleans up a snapshot.
func tidySnapshot(s *store.Snapshot) error {
	page := store.Page{Head: s.Head, Records: s.Records}
	return tidyPage(&page)
}

func tidyAll(records []store.Record) error {
	for i := range records {
		if err := tidyRecord(&records[i]); err != nil {
			return err
		}
	}
	return nil
}

func tidyRecord(r *store.Record) error {
	switch {
	case !store.IsID(r.ID):
		return notOurs("id", r.ID)
	case r.Runner != nil && !store.IsID(r.Runner.ID):
		return notOurs("runner", r.Runner.ID)
	case r.WaitsFor != nil && r.WaitsFor.Action != "" && !store.IsID(r.WaitsFor.Action):
		return notOurs("action that is waited for", r.WaitsFor.Action)
	case r.Defined != nil && r.Defined.Continues != "" && !store.IsID(r.Defined.Continues):
		return notOurs("action that is continued", r.Defined.Continues)
	case r.Defined != nil && r.Defined.Last != nil && !store.IsID(r.Defined.Last.ID):
		return notOurs("last runner", r.Defined.Last.ID)
	case !r.Status.Valid():
		return notOurs("status", fmt.Sprint(int(r.Status)))
	}
	r.Title = fit(r.Title, wellformed.MaxTitle)
	r.Description = fit(r.Description, wellformed.MaxDescription)
	r.State = fit(r.State, wellformed.MaxState)
	r.Silence = fit(r.Silence, wellformed.MaxState)
	r.CancelledBy = fit(r.CancelledBy, wellformed.MaxState)
	r.NotProvenDead = r.NotProvenDead && !r.LateEnd // older versions left both set
	if w := r.WaitsFor; w != nil {
		r.WaitsFor = &kapi.WaitsFor{
			Key: fit(w.Key, wellformed.MaxKey), Operation: fit(w.Operation, maxOperation),
			Action: w.Action, Title: fit(w.Title, wellformed.MaxTitle),
		}
	}
	tidyDefined(r)
	r.Runner = tidyRunner(r.Runner)
	if r.Progress != nil && !(*r.Progress >= 0 && *r.Progress <= 1) { // JSON can't encode NaN or infinity
		p, known := rules.ClampProgress(*r.Progress)
		if r.Progress = &p; !known {
			r.Progress = nil
		}
	}
	return nil
}

// maxOperation is the longest name of an operation (see kapi.Definition), in code points.
const maxOperation = 64

// tidyDefined cleans up what only the actions of defined operations have.
func tidyDefined(r *store.Record) {
	r.Operation = fit(r.Operation, maxOperation)
	r.StartedBy = fit(r.StartedBy, wellformed.MaxTitle)
	r.NoCancel = fit(r.NoCancel, wellformed.MaxState)
	r.PausedBy = fit(r.PausedBy, wellformed.MaxState)
	if r.Defined == nil {
		return
	}
	d := *r.Defined
	d.Limit = min(max(d.Limit, 0), wellformed.MaxLimit)
	d.Said, d.Why = fit(d.Said, wellformed.MaxState), fit(d.Why, wellformed.MaxState)
	d.Last = tidyRunner(d.Last)
	if d.Refusal != nil {
		refusal := *d.Refusal
		for _, text := range []*string{&refusal.Preflight, &refusal.Invalid, &refusal.Fault} {
			*text = fit(*text, wellformed.MaxState)
		}
		d.Refusal = &refusal
	}
	r.Defined = &d
}

func tidyRunner(r *kapi.Runner) *kapi.Runner {
	if r == nil || r.Host == fit(r.Host, maxHost) {
		return r
	}
	runner := *r
	runner.Host = fit(runner.Host, maxHost)
	return &runner
}

// maxHost is the longest name of a host (RFC 1035), in code points.
const maxHost = 255

// fit makes a text valid for its field: UTF-8, without NULs, at most longest code points.
func fit(text string, longest int) string {
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	}
	if len(text) <= longest {
		return text
	}
	n := 0
	for i := range text {
		if n == longest {
			return text[:i]
		}
		n++
	}
	return text
}

func notOurs(field, value string) error {
	const shown = 80
	return fmt.Errorf("%w: it holds data that kapi can't have written: %s %q", kapi.ErrUnavailable, field, fit(value, shown))
}
