package crowd

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
)

// A table collects the results: a line for each promise, and for each figure that a promise needs beside it.
type table struct{ rows []row }

type row struct{ what, measured, promised, met string }

// A part is the rows about one crowd.
type part struct {
	*table
	what string
	all  *tally
}

// part begins the rows about a crowd with how many runs of all rounds were refused. That must be none: otherwise
// the benchmark fails.
func (t *table) part(b *testing.B, what string, all *tally) part {
	r := row{what + ": refused", fmt.Sprintf("%d of %d", all.refused(), all.runs), "none", "yes"}
	if all.refused() > 0 {
		r.met = "no"
		r.measured += ": " + all.codes()
		b.Errorf("%s %s; the first message: %s", r.what, r.measured, all.message)
	}
	t.add(r)
	return part{t, what, all}
}

// atMost adds a promise: the median of the samples must not exceed a limit. It isn't met by a crowd of which some were
// refused.
func (p part) atMost(what, unit string, samples []float64, limit float64) {
	met := "yes"
	switch {
	case p.all.refused() > 0:
		met = "no: refused"
	case len(samples) == 0 || median(samples) > limit:
		met = "no"
	}
	p.add(row{p.what + ": " + what, spread(samples, unit), strings.TrimSpace(fmt.Sprintf("≤ %.4g %s", limit, unit)), met})
}

// note adds a figure that nothing is promised about.
func (p part) note(what, unit string, samples []float64) {
	p.add(row{p.what + ": " + what, spread(samples, unit), "", ""})
}

// add adds a row, and prints it to stderr at once: the table comes late.
func (t *table) add(r row) {
	t.rows = append(t.rows, r)
	text := r.what + ": " + r.measured
	if r.promised != "" {
		text += "; promised: " + r.promised + "; met: " + r.met
	}
	fmt.Fprintln(os.Stderr, " ", text)
}

func (t *table) print(w io.Writer) {
	if len(t.rows) == 0 {
		return
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "\nWHAT\tMEASURED (LEAST TO MOST)\tPROMISED\tMET")
	for _, r := range t.rows {
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", r.what, r.measured, r.promised, r.met)
	}
	_ = out.Flush()
}

// spread returns the median of samples, and the least and the most if there are several.
func spread(samples []float64, unit string) string {
	if len(samples) == 0 {
		return "nothing"
	}
	text := strings.TrimSpace(fmt.Sprintf("%.3g %s", median(samples), unit))
	if len(samples) > 1 {
		text += fmt.Sprintf(" (%.3g to %.3g)", slices.Min(samples), slices.Max(samples))
	}
	return text
}

func median(samples []float64) float64 { return quantile(samples, 0.5) }

// quantile returns the q-quantile of samples, 0 if there are none.
func quantile(samples []float64, q float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// A tally counts the exit codes of runs.
type tally struct {
	runs    int
	wrong   map[int]int // by exit code; -1: killed by a signal
	late    int         // had not begun when nobody waited for them any longer
	message string      // the first line on stderr of the first fleet with such runs
}

// refused returns how many have not run.
func (t *tally) refused() int {
	n := t.late
	for _, count := range t.wrong {
		n += count
	}
	return n
}

func (t *tally) codes() string {
	var text []string
	for code, count := range t.wrong {
		text = append(text, fmt.Sprintf("%d with exit code %d", count, code))
	}
	slices.Sort(text)
	if t.late > 0 {
		text = append(text, fmt.Sprintf("%d too late", t.late))
	}
	return strings.Join(text, ", ")
}
