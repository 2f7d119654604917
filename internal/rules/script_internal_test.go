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

// The scripts in testdata show the rules by example. Each line is one statement:
//
//	case A sentence that states the rule.
//	given ID STATUS FACT...     There is such an action.
//	CHANGE                      A change is made, in a transaction of its own,
//	CHANGE -> ANSWER            with this outcome; without an arrow, it must succeed.
//	and CHANGE                  A change is made in the same transaction as the line before.
//	then ID STATUS FACT...      The action is like this now.
//
// KEYS and IDS are separated by commas, TEXT is quoted if it has spaces, and a TIME looks like 1m30s.
// A line that begins with # is a comment. These are the changes:
//
//	start ID [wants KEYS] [pending] [may-wait] [may-dismiss] [within IDS] [asks REQUEST [by NAME] [body=TEXT]] [unjudged] FACT...
//	adopt ID wants KEYS         A start that an embedder's transaction has recorded.
//	report ID [STATUS] [progress=P] [reset] [state=TEXT] [exit=N] [not-proven-dead] [stale|by-ticket] [heard] [of-sender=ID]
//	judge ID [gone|alive [unseen]] [working] [stopped] [restarted] [silent=TIME] [left=NAME] [maybe-left=NAME [starting]] [hidden] [renewed] [of-runner=ID]
//	restore ID [stale]          Its runner has renewed its lease.
//	dismiss ID
//	cancel ID by NAME [of-sender=ID]
//	give-up ID by NAME [of-sender=ID]
//	reclaim ID STATUS FACT...   Its runner finds it missing from the store.
//	nudge [wants KEYS] [stalled=KEYS]
//
// Only for actions of defined operations, which have the fact op=NAME:
//
//	start ID ... op=NAME [limit=N] [resumable] [continues=ID] [unclaimed] [waits-if-held] [arguments=JSON]
//	claim ID [as=RUNNER] [wants KEYS] [limit=N] [resumable] [reads=N] [version=N] [stale] [unjudged]
//	report ID ... [parked] [again=N] [refusal=TEXT]
//	save ID [name=NAME] [version=N] [stale]
//	vacate ID [late] [stale|by-ticket]
//	forbid ID reason=TEXT [stale]
//	pause ID by NAME
//	unpause ID
//	abandon ID [stale]
//	explain ID reason=TEXT [stale]
//
// A report has the action's current fence, unless it is "stale" or "by-ticket". A verdict is made from the
// state before the transaction; "renewed" means that the runner has renewed its lease since, "of-runner"
// that another runner was judged.
//
// These are not changes, and only look has an outcome:
//
//	later TIME                  The clock advances.
//	transaction claims KEYS     An embedder's transaction begins,
//	transaction ends            and ends.
//	no-starts                   From here on a newer kapi allows no starts.
//	purge [LIMIT]               The store deletes what the retention no longer keeps.
//	look silent=TIME after=TIME [slept=TIME] -> TIME     How long a runner has been silent while watched.
//
// These FACTs must be complete: a case fails if an action holds a key and the script does not say so.
//
//	holds KEYS, waits KEYS, silent, not-proven-dead, ended-late, cancelled-by=NAME
//	queued                      It has its keys and has not begun.
//	turn=N, unclaimed, vacant, parked, paused-by=NAME, no-cancel=TEXT
//
// These are compared only where the script names them. An AGE is how long ago something was. Some facts
// can't be given, only result from changes.
//
//	state=TEXT, silence=TEXT, progress=P (or unknown), exit=N (or none), fence=N, ticket=N, seq=N
//	heard=AGE, updated=AGE, started=AGE (or never), releases (on failure), may-dismiss, elsewhere (its runner),
//	sender=ID
//	op=NAME, limit=N, resumable, takeovers=N, attempt=N, origin=ID, continues=ID, deaths=N, version=N, said=TEXT,
//	refusal=TEXT, handed-over, unproven, runner=ID (or nobody)
//
// "then" can also be followed by:
//
//	then ID forgotten           The store has no trace of it.
//	then ID shown STATUS ...    The action as people see it.
//	then wrote IDS              The actions that the last transaction wrote, in the order of seq, or "nothing".
//	then dismissed ID for ID    A failed action that it dismissed for a waiting one.
//	then saved ID:NAME,...      What it saved. The name of the arguments is "arguments".
//	then moved ID>ID            What is saved of the one belongs to the other now.
//	then disposed IDS           The actions of which it deleted what is saved, or "nothing".
//	then adopted IDS            The recorded starts that it adopted.
//	then renewed IDS            The actions whose runners' leases it renewed, or "nothing".
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
				t: t, file: file, world: aWorld(), ended: map[string]store.Record{}, stored: map[string]string{}, marks: map[string]store.CheckpointMark{},
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

// A script is a running case, with the contents of its store.
type script struct {
	t    *testing.T
	file string
	at   sentence

	world    *world
	ended    map[string]store.Record // tombstones
	stored   map[string]string       // the store's table of keys
	marks    map[string]store.CheckpointMark
	answers  []seenAnswer
	busy     map[string]bool
	noStarts error
	seq      uint64
	now      int64

	batch   []step
	last    *Plan // that of the last transaction
	expects bool  // the case has a line that expects something
}

// A step is a change in a transaction that has not been committed yet.
type step struct {
	at   sentence
	want string
	do   func(*Plan) string
}

// bad ends a case at a line that can't be understood.
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

// commit runs the transaction with the steps collected so far.
func (s *script) commit() {
	if len(s.batch) == 0 {
		return
	}
	l := store.Loaded{
		Found: slices.Collect(maps.Values(s.ended)), Beats: map[string]uint64{}, NoStarts: s.noStarts, Marks: maps.Clone(s.marks),
	}
	l.Epoch, l.Seq = "e", s.seq
	for id, r := range s.world.records {
		l.Beats[runnerOf(id)], l.Beats[r.RunnerID()] = aBeat, aBeat
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

// write does what a store does with the writes of a plan. Its table of keys has each key at most once.
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
	s.keep(w)
	if w.Head != s.seq || !reflect.DeepEqual(s.stored, s.world.keys()) {
		s.bad("head %d, last seq %d; the store has keys as %v, the actions as %v", w.Head, s.seq, s.stored, s.world.keys())
	}
}
