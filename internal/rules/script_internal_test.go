package rules

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/store"
)

// The scripts in testdata tell the rules by example. One line says one thing:
//
//	case A sentence that states the rule.
//	given ID STATUS FACT...     There is such an action.
//	CHANGE                      Somebody changes something, in a transaction of its own,
//	CHANGE -> ANSWER            and is answered this; without an arrow, it was done.
//	and CHANGE                  This happens in the same transaction as the line before.
//	then ID STATUS FACT...      This is what became of an action.
//
// KEYS and IDS are separated by commas, TEXT is quoted if it has spaces, and a TIME is written like
// 1m30s. A line that begins with # is a comment. These are the changes:
//
//	start ID [wants KEYS] [pending] [may-wait] [may-dismiss] [within IDS] [asks REQUEST [by NAME] [body=TEXT]] [unjudged] FACT...
//	adopt ID wants KEYS         A start that an embedder's transaction has recorded.
//	report ID [STATUS] [progress=P] [reset] [state=TEXT] [exit=N] [not-proven-dead] [stale|by-ticket] [heard] [of-sender=ID]
//	judge ID [gone|alive [unseen]] [working] [stopped] [restarted] [silent=TIME] [left=NAME] [maybe-left=NAME] [hidden] [renewed] [of-runner=ID]
//	restore ID [stale]          Its runner has renewed its lease.
//	dismiss ID
//	cancel ID by NAME [of-sender=ID]
//	give-up ID by NAME [of-sender=ID]
//	reclaim ID STATUS FACT...   Its runner finds it missing from the store.
//	nudge [wants KEYS]
//
// A report has the fence that its action has at that moment, unless it is said to be stale or to have
// the ticket of its place in the queue. A verdict is on what was there before the transaction; its
// runner may have renewed its lease since, or another runner may have been meant.
//
// These are no changes, and nothing answers them, except for look:
//
//	later TIME                  The clock goes on.
//	transaction claims KEYS     An embedder's transaction begins,
//	transaction ends            and ends.
//	no-starts                   A newer kapi allows this one no starts from here on.
//	purge [LIMIT]               The store forgets what retention lets go.
//	look silent=TIME after=TIME [slept=TIME] -> TIME     For how long a runner was watched to be silent.
//
// These FACTs are told in full: a case fails if an action holds a key and the script does not say so.
//
//	holds KEYS, waits KEYS, silent, not-proven-dead, ended-late, cancelled-by=NAME
//	queued                      It has its keys and has not begun.
//
// These are compared only where the script names them. An AGE is how long ago something was. Not all
// facts can be given: the others come about by changes.
//
//	state=TEXT, silence=TEXT, progress=P (or unknown), exit=N (or none), fence=N, ticket=N, seq=N
//	heard=AGE, updated=AGE, started=AGE (or never), releases (on failure), may-dismiss, elsewhere (its runner),
//	sender=ID
//
// Beside actions, "then" knows these:
//
//	then ID forgotten           The store has no trace of it.
//	then ID shown STATUS ...    As people see it.
//	then wrote IDS              What the last transaction wrote, in the order of seq, or nothing.
//	then dismissed ID for ID    What it dismissed for one that waits.
//	then adopted IDS            Which recorded starts it took over.
//	then renewed IDS            Whose runners' leases it renewed, or nothing.
//	then counted WORD=N...      What it counted: started, failed, aborted, completed, refused=KEYS.

func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("scripts: %q, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runScript(t, file) })
	}
}

// A sentence is a line of a script.
type sentence struct {
	number int
	text   string
}

func runScript(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var titles []string
	cases := map[string][]sentence{}
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		title, begins := strings.CutPrefix(line, "case ")
		switch {
		case i == 0 && !strings.HasPrefix(line, "#"):
			t.Fatalf("%s:1: no comment says what the script is about", file)
		case line == "" || line[0] == '#':
		case begins && (cases[title] != nil || !strings.HasSuffix(title, ".")):
			t.Fatalf("%s:%d: a title is a sentence, and stands once", file, i+1)
		case begins:
			titles = append(titles, title)
			cases[title] = []sentence{}
		case len(titles) == 0:
			t.Fatalf("%s:%d: a line before the first case", file, i+1)
		default:
			title = titles[len(titles)-1]
			cases[title] = append(cases[title], sentence{i + 1, line})
		}
	}
	for _, title := range titles {
		t.Run(title, func(t *testing.T) {
			s := &script{
				t: t, file: file, world: aWorld(), ended: map[string]store.Record{}, stored: map[string]string{},
				seq: 10, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixMilli(),
			}
			for _, s.at = range cases[title] {
				s.run()
			}
			if s.commit(); !s.expects {
				s.bad("the case expects nothing")
			}
		})
	}
}

// A script is a case that is being run: what there is, as a store has it.
type script struct {
	t    *testing.T
	file string
	at   sentence

	world    *world
	ended    map[string]store.Record // tombstones
	stored   map[string]string       // the store's table of keys
	answers  []seenAnswer
	busy     map[string]bool
	noStarts error
	seq      uint64
	now      int64

	batch   []step
	last    *Plan // of the last transaction
	expects bool  // the case expects something
}

// A step is a change of a transaction that has not been committed.
type step struct {
	at   sentence
	want string
	do   func(*Plan) string
}

// bad ends a case whose line can't be understood.
func (s *script) bad(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s:%d: %s\n\t%s", s.file, s.at.number, fmt.Sprintf(format, args...), s.at.text)
}

func (s *script) check(at sentence, got, want string) {
	s.t.Helper()
	if s.expects = true; got != want {
		s.t.Errorf("%s:%d: %s\n\t got: %s\n\twant: %s", s.file, at.number, at.text, cmp.Or(got, "(done)"), cmp.Or(want, "(done)"))
	}
}

func (s *script) run() {
	text, want, arrow := strings.Cut(s.at.text, " -> ")
	verb, p := s.parse(text)
	joined := verb == "and"
	if joined {
		verb, p = s.parse(strings.TrimPrefix(text, "and "))
		if len(s.batch) == 0 {
			s.bad("nothing to join")
		}
	} else {
		s.commit()
	}
	do := s.change(verb, p)
	switch {
	case do != nil:
		s.batch = append(s.batch, step{s.at, want, do})
		s.expects = s.expects || arrow
	case joined:
		s.bad("not a change")
	case verb == "look":
		s.check(s.at, s.look(p), want)
	case arrow:
		s.bad("nothing answers this")
	case verb == "then":
		s.then(p)
	default:
		s.set(verb, p)
	}
	if len(p.words) > 0 {
		s.bad("unknown: %s", p)
	}
}

// commit runs the transaction that has come together.
func (s *script) commit() {
	if len(s.batch) == 0 {
		return
	}
	l := store.Loaded{Found: slices.Collect(maps.Values(s.ended)), Beats: map[string]uint64{}, NoStarts: s.noStarts}
	l.Epoch, l.Seq = "e", s.seq
	for id := range s.world.records {
		l.Beats[runnerOf(id)] = aBeat
	}
	for _, a := range s.answers {
		l.Answers = append(l.Answers, a.Answer)
	}
	s.last = NewPlan(s.world, l, s.busy, s.now, Limits{Lease: aLease})
	at := s.at
	var answers []string
	for _, step := range s.batch {
		s.at = step.at
		got := step.do(s.last)
		if got != step.want {
			s.check(step.at, got, step.want)
		}
		answers = append(answers, got)
	}
	writes, records := s.last.Writes()
	s.again(l, answers, writes, records)
	s.write(writes, records)
	s.at, s.batch = at, nil
}

// write does what a store does with the outcome of a plan, whose table of keys allows each once.
func (s *script) write(w store.Writes, records []store.Record) {
	s.world.apply(records)
	for _, r := range records {
		if !r.Status.Ongoing() {
			s.ended[r.ID] = r
		}
		if s.seq++; r.Seq < s.seq {
			s.bad("%s has seq %d, which another has had", r.ID, r.Seq)
		}
		s.seq = r.Seq
	}
	for _, a := range w.Answers {
		s.answers = append(s.answers, seenAnswer{a, s.now})
	}
	for _, key := range w.Free {
		if s.stored[key] == "" {
			s.bad("key %s is freed, which nobody holds", key)
		}
		delete(s.stored, key)
	}
	for _, c := range w.Claim {
		if s.stored[c.Key] != "" {
			s.bad("key %s is claimed by %s, while %s holds it", c.Key, c.Action, s.stored[c.Key])
		}
		s.stored[c.Key] = c.Action
	}
	if w.Head != s.seq || !reflect.DeepEqual(s.stored, s.world.keys()) {
		s.bad("head %d, last seq %d; the store has keys as %v, the actions as %v", w.Head, s.seq, s.stored, s.world.keys())
	}
}
