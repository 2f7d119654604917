package crowd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/sqlite"
)

const (
	// often is how many reports a second a command makes where nothing else is said.
	often = 10
	// span is the time that a reporting command's progress from 0 to 1 stands for.
	span = 20 * time.Minute
	// apart is the time between two ends, when reporting commands are told to end.
	apart = 20 * time.Millisecond
	// soon is taken for "at once", in seconds.
	soon = 0.5
)

// reports measures many commands that report often: first alone, then with a watcher.
func reports(b *testing.B, c *bench) {
	n := share(200)
	var all tally
	var cores, usual, most, worst, endUsual, endWorst []float64
	each("reports", func() {
		store := newStore(b, c.kapi)
		f := newFleet(b, c.kapi)
		began := f.report(c, store, n, often)
		f.awaitBegun()
		time.Sleep(settling)
		cores = append(cores, f.cpu())
		w := watchFor(b, store, f, began)
		f.count(&all, 0)
		usual, most, worst = append(usual, median(w.reports)), append(most, quantile(w.reports, 0.99)), append(worst, quantile(w.reports, 1))
		endUsual, endWorst = append(endUsual, median(w.ends)), append(endWorst, quantile(w.ends, 1))
	})
	p := c.part(b, fmt.Sprintf("%d at %d Hz", n, often), &all)
	p.atMost("processor of all", "cores", cores, 1)
	p.atMost("until a watcher has a report or a later one, the latest", "s", worst, 2)
	p.note("the same, the median", "s", usual)
	p.note("the same, 99%", "s", most)
	p.atMost("until a watcher has the end, the latest", "s", endWorst, soon)
	p.note("the same, the median", "s", endUsual)
}

// ten compares ten commands that report often with one.
func ten(b *testing.B, c *bench) {
	var all tally
	var ratios, ones []float64
	each("ten", func() {
		store := newStore(b, c.kapi)
		one := perProcess(b, c, store, 1, often, &all)
		many := perProcess(b, c, store, 10, often, &all)
		ones, ratios = append(ones, 100*one), append(ratios, many/one)
	})
	p := c.part(b, fmt.Sprintf("10 at %d Hz", often), &all)
	p.atMost("processor of all / ten times that of one", "", ratios, 1.3)
	p.note("processor of that one", "% of a core", ones)
}

// perProcess returns the processor time per process, in cores, of n that report hz times a second, or that
// say nothing if hz is 0.
func perProcess(b *testing.B, c *bench, store string, n int, hz float64, all *tally) float64 {
	f := newFleet(b, c.kapi)
	if hz > 0 {
		f.report(c, store, n, hz)
	} else {
		f.start(n, f.asleep(c, store))
	}
	f.awaitBegun()
	time.Sleep(settling)
	used := f.cpu()
	f.terminate(all)
	return used / float64(n)
}

// report starts n commands that report hz times a second, and returns when their progress was 0.
func (f *fleet) report(c *bench, store string, n int, hz float64) (began time.Time) {
	began = time.Now()
	f.start(n, func(i int) []string {
		return []string{
			c.kapi, "--store", store, "run", "--key", f.key(i), "--title", strconv.Itoa(i), "--",
			c.tick, strconv.Itoa(i), f.folder, strconv.FormatInt(began.UnixNano(), 10),
			span.String(), apart.String(), fmt.Sprint(hz),
		}
	})
	return began
}

// A watching has the delays that a watcher saw, in seconds.
type watching struct{ reports, ends []float64 }

// watchFor watches a fleet that reports often, for the window and then until it has ended.
func watchFor(b *testing.B, store string, f *fleet, began time.Time) (seen watching) {
	s, err := sqlite.Open(strings.TrimPrefix(store, "sqlite:"))
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), *window+time.Minute)
	defer cancel()
	p, err := peer.Open(ctx, s, peer.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	w, err := p.Watch(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	end := time.Now().Add(*window)
	tellEnd(b, f, end)
	last := map[string]time.Time{} // when the newest report that was seen was made
	now := time.Now()
	for _, a := range w.Snapshot {
		last[a.Title] = now // no earlier report counts: nobody watched
	}
	for left := len(w.Snapshot); left > 0; {
		a, err := w.Next(ctx)
		if err != nil {
			b.Errorf("the watcher had not seen %d ends yet: %v", left, err)
			return seen
		}
		if !a.Status.Ongoing() {
			left--
		}
		seen.add(a, began, end, last)
	}
	return seen
}

// madeAfter returns how long after the beginning the newest report of an action was made.
func madeAfter(a kapi.Action) time.Duration {
	if a.Progress == nil {
		return 0
	}
	return time.Duration(*a.Progress * float64(span))
}

// add notes a change that has just been seen. It is the first that shows the oldest report after the last
// one that was seen, which was made one interval after that.
func (w *watching) add(a kapi.Action, began, end time.Time, last map[string]time.Time) {
	now := time.Now()
	made, before := began.Add(madeAfter(a)), last[a.Title]
	switch i, err := strconv.Atoi(a.Title); {
	case err != nil:
	case !a.Status.Ongoing():
		w.ends = append(w.ends, now.Sub(end.Add(time.Duration(i)*apart)).Seconds())
	case made.After(before):
		oldest := before.Add(time.Second / often)
		if oldest.After(made) {
			oldest = made
		}
		w.reports = append(w.reports, now.Sub(oldest).Seconds())
		last[a.Title] = made
	}
}

// tellEnd tells the commands of a fleet when to end.
func tellEnd(b *testing.B, f *fleet, end time.Time) {
	path := filepath.Join(f.folder, "end")
	if err := os.WriteFile(path+".new", []byte(strconv.FormatInt(end.UnixNano(), 10)), 0o600); err != nil {
		b.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		b.Fatal(err)
	}
}
