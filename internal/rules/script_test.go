package rules

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// TestScripts reads the rules from testdata/*.txt, line by line. A line that begins with "# " is the
// title of a case, which begins with nothing; one with "##" is a comment. The others are
//
//	given ID STATUS WORDS      an action that there is
//	then ID STATUS WORDS       what has become of it; "then ID gone": it is disposed of
//	then KEY free              nobody holds a key
//	later 6s                   time passes
//	claimed KEY                a transaction that is open claims a key; "claimed nothing": none does
//	CHANGE & CHANGE -> WHY     one transaction: what is wanted, and, of the last of them, why it is
//	                           refused (a part of the error's text), or "unchanged"
//	judge ID WORDS -> VERDICT  what is known of its runner, and what that means
//
// with the changes
//
//	start ID wants KEY... [wait] [dismiss-failed] [unjudged] [within ID...] [release] [asked BY/KEY/HASH]
//	adopt ID wants KEY...      a start that a transaction of an embedder's has recorded
//	report ID [STATUS] [progress=N] [reset] [state="..."] [exit=N] [goes-on] [fence=stale|ticket]
//	silent ID WHY, blind ID WHY, dead ID WHY, unproven ID WHY, ended ID HOW, heard ID
//	dismiss ID, cancel ID BY, give-up ID BY, reclaim ID STATUS WORDS, nudge [KEY...]
//
// and the words of an action: holds KEY... (else none), waits KEY..., release, given-up, late-end,
// silence="...", progress=N (unknown if it is left out), state="...", exit=N, cancelled, shown=STATUS,
// not-proven-dead. "then" compares those that are given; keys, and what is waited for, always.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		var s *script
		lines := bufio.NewScanner(file)
		for n := 1; lines.Scan(); n++ {
			text := strings.TrimSpace(lines.Text())
			switch {
			case text == "", strings.HasPrefix(text, "##"):
			case strings.HasPrefix(text, "# "):
				s = &script{world: aWorld(), seq: 10, now: 1_000_000}
			case s == nil:
				t.Fatalf("%s:%d: no case has begun", name, n)
			default:
				if err := s.line(text); err != nil {
					t.Errorf("%s:%d: %s: %v", name, n, text, err)
				}
			}
		}
		if err := lines.Err(); err != nil {
			t.Error(err)
		}
	}
}

// A script is one case.
type script struct {
	world   *world
	seq     uint64
	now     int64
	claimed map[string]bool
	answers []store.Answer
}

func (s *script) line(text string) error {
	text, want, judged := strings.Cut(text, "->")
	words, err := split(text)
	if err != nil || len(words) == 0 {
		return fmt.Errorf("can't be read: %w", err)
	}
	switch words[0] {
	case "given":
		r, _, err := s.action(words[1:])
		s.world.apply([]store.Record{r})
		return err
	case "then":
		return s.then(words[1:])
	case "later":
		d, err := time.ParseDuration(words[1])
		s.now += d.Milliseconds()
		return err
	case "claimed":
		s.claimed = map[string]bool{}
		for _, key := range words[1:] {
			s.claimed[key] = key != "nothing"
		}
		return nil
	case "judge":
		return s.judge(words[1:], strings.TrimSpace(want))
	}
	return s.transact(text, strings.TrimSpace(want), judged)
}

// split splits a line at spaces, but not in quotation marks, which it takes off.
func split(text string) (words []string, err error) {
	quoted, word, begun := false, "", false
	for _, r := range text + " " {
		switch {
		case r == '"':
			quoted, begun = !quoted, true
		case r == ' ' && !quoted:
			if begun {
				words = append(words, word)
			}
			word, begun = "", false
		default:
			word, begun = word+string(r), true
		}
	}
	if quoted {
		return nil, errors.New("a quotation mark is missing")
	}
	return words, nil
}

func statusOf(word string) (kapi.Status, error) {
	for s := range kapi.StatusCompleted + 1 {
		if s.String() == word {
			return s, nil
		}
	}
	return 0, fmt.Errorf("%q is no status", word)
}

// list takes the words up to the next one of the grammar.
func list(words []string) (all, rest []string) {
	known := []string{"holds", "waits", "wants", "wait", "release", "within", "asked", "dismiss-failed", "unjudged", "given-up", "late-end", "cancelled", "not-proven-dead"}
	n := slices.IndexFunc(words, func(w string) bool { return slices.Contains(known, w) || strings.Contains(w, "=") })
	if n < 0 {
		n = len(words)
	}
	return words[:n], words[n:]
}

// action reads an action, and which of its fields were given.
func (s *script) action(words []string) (r store.Record, given map[string]bool, err error) {
	if len(words) < 2 {
		return r, nil, errors.New("an action needs an id and a status")
	}
	given = map[string]bool{}
	s.seq++
	r = store.Record{
		Action: kapi.Action{ID: words[0], Title: "T", Seq: s.seq, CreatedAt: s.now, UpdatedAt: s.now, Runner: &kapi.Runner{ID: "runner of " + words[0], Host: "host", PID: 7}},
		Fence:  s.seq,
	}
	if r.Status, err = statusOf(words[1]); err != nil {
		return r, given, err
	}
	for words = words[2:]; len(words) > 0 && err == nil; {
		name, value, _ := strings.Cut(words[0], "=")
		given[name] = true
		words = words[1:]
		switch name {
		case "holds":
			r.Keys, words = list(words)
		case "waits":
			r.Waits, words = list(words)
			r.Ticket = r.Fence
		case "release":
			r.ReleaseOnFailure = true
		case "given-up":
			r.GivenUp = true
		case "late-end":
			r.LateEnd = true
		case "cancelled":
			r.CancelRequestedAt = s.now
		case "silence":
			r.Silence = value
		case "state":
			r.State = value
		case "progress":
			var p float64
			p, err = strconv.ParseFloat(value, 64)
			r.Progress = &p
		case "exit":
			var code int
			code, err = strconv.Atoi(value)
			r.ExitCode = &code
		case "shown":
			r.Status, err = statusOf(value)
		case "not-proven-dead":
		default:
			err = fmt.Errorf("%q is no word of an action", name)
		}
	}
	return r, given, err
}

func (s *script) then(words []string) error {
	if len(words) == 2 && words[1] == "free" {
		if holder := s.world.Holder(words[0]); holder != "" {
			return fmt.Errorf("%s holds it", holder)
		}
		return nil
	}
	got, ok := s.world.Get(words[0])
	if len(words) == 2 && words[1] == "gone" {
		if ok {
			return fmt.Errorf("it is %s", got.Status)
		}
		return nil
	}
	if !ok {
		return errors.New("there is no such action")
	}
	want, given, err := s.action(words)
	if err != nil {
		return err
	}
	shown := got.Shown()
	if given["shown"] {
		got.Status, got.State = shown.Status, shown.State
	}
	code := func(r *store.Record) string {
		if r.ExitCode == nil {
			return "none"
		}
		return strconv.Itoa(*r.ExitCode)
	}
	progress := func(r *store.Record) string {
		if r.Progress == nil {
			return "unknown"
		}
		return strconv.FormatFloat(*r.Progress, 'g', -1, 64)
	}
	for _, c := range []struct {
		name      string
		compared  bool
		got, want any
	}{
		{"status", true, got.Status, want.Status},
		{"holds", true, fmt.Sprint(got.Keys), fmt.Sprint(want.Keys)},
		{"waits", true, fmt.Sprint(got.Waits), fmt.Sprint(want.Waits)},
		{"state", given["state"], got.State, want.State},
		{"silence", given["silence"], got.Silence, want.Silence},
		{"progress", true, progress(&got), progress(&want)},
		{"exit", given["exit"], code(&got), code(&want)},
		{"given up", given["given-up"], got.GivenUp, true},
		{"late end", given["late-end"], got.LateEnd, true},
		{"cancelled", given["cancelled"], got.CancelRequestedAt != 0, true},
		{"not proven dead", true, shown.NotProvenDead, given["not-proven-dead"]},
	} {
		if c.compared && c.got != c.want {
			return fmt.Errorf("%s: %v", c.name, c.got)
		}
	}
	return nil
}
