package linear

import (
	"cmp"
	"flag"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// An operation is one call with its answer, in the form that the checker takes.
type operation struct {
	call
	answer
	client   int
	from, to int64
	action   int      // the action's number, -1 if there is none
	keys     uint64   // for a start
	holder   int      // for a refusal: the holder's number
	seq      uint64   // for a change that has no answer
	sights   []*sight // for a list: by the action's number
	stranger bool     // the list has an action that nobody started
	part     *part
	left     bool // for the final reading of an operation's action: its runner had left
}

// checkWithin limits the search for an order. It takes seconds at most; a timeout counts as a failure.
const checkWithin = time.Minute

// rules are a model in the form that porcupine takes.
type rules struct {
	porcupine.Model
	parts []string // the names of the parts that Partition makes
}

// check searches for an order of the operations that the rules allow.
func check(m rules, all []operation) (porcupine.CheckResult, porcupine.LinearizationInfo) {
	narrowed := slices.Clone(all)
	contradiction := narrow(narrowed)
	if contradiction != nil {
		narrowed = all // the picture must show the original times
	}
	result, info := porcupine.CheckOperationsVerbose(m.Model, ready(narrowed), checkWithin)
	if contradiction != nil {
		result = porcupine.Illegal
		info.AddAnnotations([]porcupine.Annotation{{Tag: "order", Start: all[0].from, Description: contradiction.Error()}})
	}
	return result, info
}

func ready(all []operation) []porcupine.Operation {
	history := make([]porcupine.Operation, len(all))
	for i := range all {
		o := &all[i]
		history[i] = porcupine.Operation{ClientId: o.client, Input: o, Call: o.from, Return: o.to}
	}
	return history
}

// explain says, for each part without an order, how far the search got, and which operation doesn't fit
// after that.
func explain(m rules, info porcupine.LinearizationInfo, all []operation) (lines []string) {
	narrowed := slices.Clone(all)
	if err := narrow(narrowed); err != nil {
		return []string{err.Error()}
	}
	for i, part := range m.Partition(ready(narrowed)) {
		var best []porcupine.Operation
		for _, order := range info.PartialLinearizationsOperations()[i] {
			if len(order) > len(best) {
				best = order
			}
		}
		if len(best) == len(part) {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: %d of %d have an order", m.parts[i], len(best), len(part)))
		state, placed := m.Init(), map[string]bool{}
		for _, h := range best {
			o := h.Input.(*operation)
			_, state = m.Step(state, o, nil)
			placed[o.id()] = true
			lines = append(lines, "  "+o.id())
		}
		lines = append(lines, m.DescribeState(state), "left over, the first to return first:")
		slices.SortFunc(part, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
		for _, h := range part {
			if o := h.Input.(*operation); !placed[o.id()] {
				lines = append(lines, "  "+o.id())
			}
		}
	}
	return lines
}

// id identifies an operation.
func (o *operation) id() string { return fmt.Sprintf("%d: %d..%d %s", o.client, o.from, o.to, o) }

func (m *model) rules() rules {
	parts := make([]string, len(m.keys))
	for i, key := range m.keys {
		parts[i] = "key " + key
	}
	return rules{parts: parts, Model: porcupine.Model{
		Partition: m.split,
		Init:      func() any { return &world{records: make([]*record, len(m.titles))} },
		Step: func(state, input, _ any) (bool, any) {
			return m.step(state.(*world), input.(*operation))
		},
		Equal:             func(a, b any) bool { return a.(*world).equal(b.(*world)) },
		Hash:              func(state any) uint64 { return state.(*world).hash },
		DescribeOperation: func(input, _ any) string { return input.(*operation).String() },
		DescribeState:     func(state any) string { return m.describe(state.(*world)) },
	}}
}

// newModel numbers the actions that were started or attempted.
func newModel(keys []string, all []operation) *model {
	m := &model{keys: keys, seed: maphash.MakeSeed()}
	numbers := map[string]int{}
	for i := range all {
		if o := &all[i]; o.Kind == start {
			numbers[o.Title] = len(m.titles)
			m.titles = append(m.titles, o.Title)
			m.wanted = append(m.wanted, m.bits(o.Keys))
		}
	}
	number := func(title string) int {
		if n, ok := numbers[title]; ok {
			return n
		}
		return -1
	}
	for i := range all {
		o := &all[i]
		o.action, o.keys = number(o.Title), m.bits(o.Keys)
		switch {
		case o.Outcome == held:
			o.holder = number(o.Seen[0].Title)
		case o.Kind == list, o.Kind == final:
			o.sights = make([]*sight, len(m.titles))
			for j := range o.Seen {
				if n := number(o.Seen[j].Title); n >= 0 && o.sights[n] == nil {
					o.sights[n] = &o.Seen[j]
				} else {
					o.stranger = true
				}
			}
		}
	}
	return m
}

func (o *operation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", o.Kind, o.Title)
	if o.Kind == start {
		fmt.Fprintf(&b, " %v release=%v dismiss=%v remote=%v", o.Keys, o.Release, o.Dismiss, o.Remote)
	}
	if o.Fence != 0 {
		fmt.Fprintf(&b, " fence=%d", o.Fence)
	}
	if o.Status != 0 {
		fmt.Fprintf(&b, " status=%d", o.Status)
	}
	if o.State != nil {
		fmt.Fprintf(&b, " state=%q", *o.State)
	}
	if o.Progress != nil {
		fmt.Fprintf(&b, " progress=%v", *o.Progress)
	}
	if o.Reset {
		b.WriteString(" reset")
	}
	if o.Runner != "" {
		fmt.Fprintf(&b, " runner=%s attempt=%d", o.Runner, o.Attempt)
	}
	if o.Place != nil {
		fmt.Fprintf(&b, " place=%v", *o.Place)
	}
	b.WriteString(" -> " + cmp.Or(string(o.Outcome), "ok") + " " + o.Key)
	if o.Found != nil {
		fmt.Fprintf(&b, "found=%v", *o.Found)
	}
	for i := range o.Seen {
		b.WriteString(" " + o.Seen[i].String())
	}
	return b.String()
}

func (s *sight) String() string {
	progress := "-"
	if s.Progress != nil {
		progress = fmt.Sprint(*s.Progress)
	}
	text := fmt.Sprintf("[%s seq=%d status=%d %q progress=%s keys=%v fence=%d", s.Title, s.Seq, s.Status, s.State, progress, s.Keys, s.Fence)
	if s.ID != "" {
		text += fmt.Sprintf(" runner=%s attempt=%d saved=%v", s.Runner, s.Attempt, found(s.Saved))
	}
	return text + "]"
}

func (m *model) describe(w *world) string {
	var b strings.Builder
	fmt.Fprintf(&b, "head=%d", w.head)
	for i, r := range w.records {
		if r.ongoing() {
			var keys []string
			for _, key := range m.keys {
				if r.keys&m.bit(key) != 0 {
					keys = append(keys, key)
				}
			}
			fmt.Fprintf(&b, "\n%s fence=%d seq=%d status=%d %q died=%v progress=%v,%v keys=%v",
				m.titles[i], r.fence, r.seq, r.status, r.state, r.died, r.hasProgress, r.progress, keys)
		}
	}
	return b.String()
}

// picture writes porcupine's visualisation of a history, and the history as text, to a folder that it
// logs.
func picture(t *testing.T, m rules, all []operation, info porcupine.LinearizationInfo) {
	t.Helper()
	dir := t.ArtifactDir()
	if f := flag.Lookup("test.artifacts"); f == nil || f.Value.String() != "true" { // the test's own folder would be removed
		var err error
		if dir, err = os.MkdirTemp("", "kapi-linear-"); err != nil {
			t.Fatal(err)
		}
	}
	html := filepath.Join(dir, "history.html")
	if err := porcupine.VisualizePath(m.Model, info, html); err != nil {
		t.Errorf("no picture: %v", err)
	}
	slices.SortFunc(all, func(a, b operation) int { return cmp.Compare(a.from, b.from) })
	lines := make([]string, len(all))
	for i := range all {
		lines[i] = all[i].id()
	}
	lines = append(lines, explain(m, info, all)...)
	text := filepath.Join(dir, "history.txt")
	if err := os.WriteFile(text, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Errorf("no history: %v", err)
	}
	t.Logf("picture: %s; history, with the operations that don't fit: %s", html, text)
}

// summary counts the operations of a history by kind.
func summary(all []operation) string {
	counts := map[string]int{}
	open := 0
	for i := range all {
		o := &all[i]
		counts[string(o.Kind)+" "+cmp.Or(string(o.Outcome), "ok")]++
		if o.to == forever {
			open++
		}
	}
	return fmt.Sprintf("%d operations, %d of unknown outcome: %v", len(all), open, counts)
}
