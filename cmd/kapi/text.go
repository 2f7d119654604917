package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/kettubot/kapi"
)

// plain makes a text from anywhere safe to print on one line of a terminal: it escapes control characters,
// characters that are invisible or change the direction of text, and invalid UTF-8.
func plain(text string) string {
	if !strings.ContainsFunc(text, unsafeRune) && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case unsafeRune(r):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// unsafeRune reports whether a character changes a terminal or the text around it, or is invisible: controls,
// line ends, direction marks, tags. The joiners U+200C and U+200D, which emoji and some languages need, are
// safe. So are signs of some scripts (such as Arabic) that enclose a number, because they are visible.
func unsafeRune(r rune) bool {
	switch {
	case r == 0x200C, r == 0x200D, unicode.Is(unicode.Prepended_Concatenation_Mark, r):
		return false
	case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
		return true
	}
	return unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
}

// writeJSON prints a value as one line of JSON. On a terminal, unsafe characters are escaped.
func writeJSON(w io.Writer, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if isTerminal(w) {
		text = escapeJSON(text)
	}
	return writeln(w, "%s", text)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// escapeJSON writes characters that are unsafe on a terminal as \u escapes, which mean the same. It leaves
// line ends, which are white space in JSON.
func escapeJSON(text []byte) []byte {
	if !bytes.ContainsFunc(text, unsafeRune) {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		switch {
		case r == '\n' || !unsafeRune(r):
			b.WriteRune(r)
		default:
			for _, unit := range utf16.AppendRune(nil, r) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		}
	}
	return b.Bytes()
}

const timeLayout = "2006-01-02 15:04:05 MST"

// localTime formats milliseconds since 1970 in the user's time zone.
func localTime(ms int64) string { return timeIn(time.Local, time.UnixMilli(ms)) }

func timeIn(zone *time.Location, t time.Time) string { return t.In(zone).Format(timeLayout) }

// stateText returns an action's state, safe for a terminal, with its times (RFC 3339, UTC) in the user's
// time zone.
func stateText(state string) string { return stateIn(time.Local, state) }

// saying returns the state of an action and, while it is active, what else is out of the ordinary: how often its
// operation was begun, who asked it to pause or to stop, and why it can't be cancelled.
func saying(a kapi.Action) string {
	parts := []string{stateText(a.State)}
	if a.Attempt > 1 && a.Status == kapi.StatusRunning { // between two attempts, the state tells more
		parts = append(parts, fmt.Sprintf("attempt %d", a.Attempt))
	}
	// Once it pauses, or has no runner, its state says so.
	if a.PausedBy != "" && a.Status.Active() && a.Runner != nil && a.State != "paused by "+a.PausedBy {
		parts = append(parts, "asked to pause by "+plain(a.PausedBy))
	}
	if a.NoCancel != "" && a.Status.Active() {
		parts = append(parts, "can't be cancelled: "+plain(a.NoCancel))
	}
	switch {
	case a.CancelRequestedAt == 0 || !a.Status.Active():
	case a.CancelledBy == "":
		parts = append(parts, "asked to stop")
	default:
		parts = append(parts, "asked to stop by "+plain(a.CancelledBy))
	}
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), "; ")
}

// reason returns the state as the end of a sentence, "" if there is none, as in some reports over REST.
func reason(state string) string {
	if state == "" {
		return ""
	}
	return ": " + stateText(state)
}

func stateIn(zone *time.Location, state string) string {
	times := regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)
	return plain(times.ReplaceAllStringFunc(state, func(text string) string {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return text
		}
		return timeIn(zone, t)
	}))
}

// progressText returns "" if the progress is unknown.
func progressText(progress *float64) string {
	if progress == nil {
		return ""
	}
	// 99.9% is not done: only 1 is shown as 100%.
	return fmt.Sprintf("%d%%", int(*progress*100+1e-9)) // 0.29*100 is below 29
}

func runnerText(r *kapi.Runner) string {
	if r == nil {
		return ""
	}
	if r.PID == 0 { // it reports over REST
		return plain(r.Host)
	}
	return fmt.Sprintf("%s/%d", plain(r.Host), r.PID)
}

// ageText says how long ago a time was, in its one or two largest units.
func ageText(now time.Time, ms int64) string {
	age := now.Sub(time.UnixMilli(ms)).Truncate(time.Second)
	switch day := 24 * time.Hour; {
	case age < 0: // the clocks of two machines differ
		return "0s"
	case age < time.Minute:
		return fmt.Sprintf("%ds", age/time.Second)
	case age < time.Hour:
		return fmt.Sprintf("%dm%02ds", age/time.Minute, age%time.Minute/time.Second)
	case age < day:
		return fmt.Sprintf("%dh%02dm", age/time.Hour, age%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%02dh", age/day, age%day/time.Hour)
	}
}

// called names an action in a sentence.
func called(a kapi.Action) string { return fmt.Sprintf("%s (%s)", a.ID, a.Title) }
