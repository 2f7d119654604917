package kapi

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A store may be anybody's: a file in a folder that others write to, a database with other users.
// What it says is shown in terminals and pages, offered in commands to copy, and sent to clients. So
// it is looked at once, where it comes in. An id that kapi can't have made refuses the store, for there
// is nothing to call that action by; what is only shown is made fit for that.

// isID reports whether a text has the form of an id or an epoch.
func isID(text string) bool {
	const longest = 64
	return text != "" && len(text) <= longest && strings.IndexFunc(text, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
	}) < 0
}

// tidy looks at a part of the feed.
func (p *Page) tidy() error {
	if !isID(p.Epoch) {
		return notOurs("epoch", p.Epoch)
	}
	return tidy(p.Records)
}

// tidy looks at all that is ongoing.
func (s *Snapshot) tidy() error {
	page := Page{Head: s.Head, Records: s.Records}
	return page.tidy()
}

func tidy(records []Record) error {
	for i := range records {
		if err := records[i].tidy(); err != nil {
			return err
		}
	}
	return nil
}

func (r *Record) tidy() error {
	switch {
	case !isID(r.ID):
		return notOurs("id", r.ID)
	case r.Runner != nil && !isID(r.Runner.ID):
		return notOurs("runner", r.Runner.ID)
	case !r.Status.Valid():
		return notOurs("status", fmt.Sprint(int(r.Status)))
	}
	r.Title = fit(r.Title, maxTitle)
	r.Description = fit(r.Description, maxDescription)
	r.State = fit(r.State, maxState)
	r.Silence = fit(r.Silence, maxState)
	r.CancelledBy = fit(r.CancelledBy, maxState)
	if r.Runner != nil && r.Runner.Host != fit(r.Runner.Host, maxHost) {
		runner := *r.Runner
		runner.Host = fit(runner.Host, maxHost)
		r.Runner = &runner
	}
	if r.Progress != nil && !(*r.Progress >= 0 && *r.Progress <= 1) { // JSON has no word for some
		p, known := clampProgress(*r.Progress)
		if r.Progress = &p; !known {
			r.Progress = nil
		}
	}
	return nil
}

// maxHost is the longest name of a host (RFC 1035), in code points.
const maxHost = 255

// fit makes a text one that its field can have: valid UTF-8, without NULs, not longer than that.
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
	return fmt.Errorf("%w: it holds what no kapi has written: %s %q", ErrUnavailable, field, fit(value, shown))
}
