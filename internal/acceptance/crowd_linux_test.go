package acceptance

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/pgtest"
	"github.com/kettubot/kapi/internal/store"
)

// failsWithin is how soon the actions of killed commands are to be failed. Only the soak holds kapi to it: there
// nothing else runs. In make test the packages share the processors, so the figures are logged, and an action that
// is never failed is found by kapitest.Patience.
const failsWithin = 3 * time.Second

// A blow is what happens to a crowd in one round, besides some of it being killed and some ending.
type blow struct {
	name string
	// kills: the keeper is killed first. late: it may be killed after others, even between a verdict and what follows it.
	kills, late bool
	// stops is the number of processes that are stopped first: the keeper, its deputy.
	stops int
}

var (
	someDie      = blow{name: "some are killed"}
	keeperDies   = blow{name: "the keeper is killed first", kills: true}
	keeperLate   = blow{name: "the keeper is killed, too", kills: true, late: true}
	keeperStops  = blow{name: "the keeper is stopped", stops: 1}
	deputyStops  = blow{name: "the keeper and its deputy are stopped", stops: 2}
	crowdOfBlows = []blow{
		someDie, keeperDies, keeperStops, someDie, keeperLate, deputyStops, keeperLate, keeperDies, keeperStops, someDie,
	}
)

// TestCrowd kills some of a hundred commands at once, with and without what they run, and each time checks that their
// actions fail, that nothing else changes, and that each key has one holder at a time.
//
// It doesn't run beside the other tests of the package: what they start has the same parent as the crowd, so that it may
// be taken for what a killed command has left behind, as long as it shows no environment.
func TestCrowd(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { crowded(t, inFile(t), 100, rounds(20, 500)) })
	t.Run("PostgreSQL", func(t *testing.T) {
		server := pgtest.For(t, pgtest.Options{Durable: true}) // a crowd needs most of its connections
		crowded(t, server.DSN(server.Database(t)), 15, rounds(5, 50))
	})
}

func crowded(t *testing.T, place string, size, rounds int) {
	c := newCrowd(t, place, size)
	for i := range rounds {
		b := crowdOfBlows[i%len(crowdOfBlows)]
		c.round(b)
		if t.Failed() {
			t.Fatalf("in round %d: %s", i, b.name)
		}
	}
	c.disperse()
	c.inspectMarks()
	for _, b := range []blow{someDie, keeperDies, keeperLate, keeperStops, deputyStops} {
		if all := c.took[b.name]; len(all) > 0 {
			slices.Sort(all)
			t.Logf("%s: %d actions failed after %v (median), %v at most", b.name, len(all), all[len(all)/2], all[len(all)-1])
		}
	}
	t.Logf("%d rounds, %d commands, of which %d were silent for a while", rounds, c.born, c.silent)
	if isSoak() && c.silent > 0 {
		t.Error("some were silent for a lease, although none was stopped for so long")
	}
}

// round kills and ends some of the crowd, and waits until the deaths are noticed. What dead ones have left ends one or
// two rounds later, so that it meets several keepers.
func (c *crowd) round(b blow) {
	c.settle()
	c.blow = b
	stopped := c.stop(b.stops)
	victims, leavers := c.choose(stopped)
	for _, m := range victims {
		m.die()
	}
	for _, m := range leavers {
		m.leave()
	}
	c.await("all deaths are noticed", func() bool {
		return !slices.ContainsFunc(victims, func(m *member) bool { return !m.noticed() }) &&
			!slices.ContainsFunc(c.dying, func(m *member) bool { return m.ends() && !m.settled() })
	})
	c.guards()
	for _, i := range rand.Perm(len(stopped)) {
		stopped[i].signal(syscall.SIGCONT)
	}
	for _, m := range c.dying {
		m.endOrphan()
	}
	c.dying = append(c.dying, victims...)
	c.bury()
	for _, m := range leavers {
		if code := m.wait(); code != 0 {
			c.t.Errorf("%s exited with %d: %s", m.title, code, m.stderr)
		}
	}
	c.fillUp()
}

// bury checks those of whom nothing is left, and dismisses those that failed.
func (c *crowd) bury() {
	var dead []*member
	c.dying = slices.DeleteFunc(c.dying, func(m *member) bool {
		if m.settled() {
			dead = append(dead, m)
		}
		return m.settled()
	})
	for _, m := range dead {
		m.kill() // reaps it
		if pid := m.orphan(); pid != 0 {
			c.t.Errorf("%s has failed, and its process %d is alive", m.title, pid)
		}
		if n := m.count("TERM"); m.began && m.trapped && !m.together && n != 1 && !(n == 2 && m.twice) {
			c.t.Errorf("%s was asked to end %d times", m.title, n)
		}
	}
	c.dismiss(dead)
}

// choose chooses who is killed, in that order, and who ends. Both are then no longer part of the crowd.
func (c *crowd) choose(stopped []*member) (victims, leavers []*member) {
	keeper := c.posts()[0]
	all := slices.DeleteFunc(slices.Clone(c.members), func(m *member) bool {
		return slices.Contains(stopped, m) || m == keeper
	})
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	take := func(wanted int, is func(m *member) bool) (taken []*member) {
		all = slices.DeleteFunc(all, func(m *member) bool {
			takes := len(taken) < wanted && is(m)
			if takes {
				taken = append(taken, m)
			}
			return takes
		})
		return taken
	}
	if c.blow.kills {
		if keeper == nil { // each peer is one
			victims = take(1, (*member).running)
		} else {
			victims = append(victims, keeper)
		}
	}
	// At least one orphan lingers.
	victims = append(victims, take(1, func(m *member) bool { return m.running() && m.trapped })...)
	more := take(1+rand.IntN(len(all)/12+1), func(*member) bool { return true })
	for _, m := range more {
		m.together = rand.IntN(2) == 0
	}
	victims = append(victims, more...)
	if c.blow.late {
		rand.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
	}
	leavers = take(1+rand.IntN(len(all)/24+1), (*member).running)
	gone := slices.Concat(victims, leavers)
	c.members = slices.DeleteFunc(c.members, func(m *member) bool { return slices.Contains(gone, m) })
	return victims, leavers
}

// guards checks that a key is held while an orphan of its holder lives.
func (c *crowd) guards() {
	i := slices.IndexFunc(c.dying, func(m *member) bool { return !m.ends() })
	if i < 0 {
		return
	}
	m := c.dying[i]
	_, stderr, code := c.run("run", "--key", m.key, "--", "true")
	if code != 75 || !strings.Contains(stderr, "still running") {
		c.t.Errorf("while an orphan of %s lives, another start exits with %d: %s", m.title, code, stderr)
	}
}

func (c *crowd) dismiss(dead []*member) {
	var ids []string
	for _, m := range dead {
		if m.record.Status == kapi.StatusFailed {
			ids = append(ids, m.record.ID)
			m.ending = dismissedLater
		}
	}
	if len(ids) == 0 {
		return
	}
	if _, stderr, code := c.run("dismiss", ids...); code != 0 {
		c.t.Errorf("kapi dismiss exited with %d: %s", code, stderr)
	}
	c.await("those that were dismissed have ended", func() bool {
		return !slices.ContainsFunc(dead, func(m *member) bool { return m.record.Status.Ongoing() })
	})
}

// settle waits until all of the crowd run, except those that wait for a key that another one has.
func (c *crowd) settle() {
	c.await("all run, or wait for one that runs", func() bool {
		busy := map[string]bool{}
		for _, m := range c.dying {
			busy[m.key] = true
		}
		for _, m := range c.members {
			busy[m.key] = busy[m.key] || m.running()
		}
		return !slices.ContainsFunc(c.members, func(m *member) bool {
			return !m.running() && !(m.record.Waiting() && m.record.Silence == "" && busy[m.key])
		})
	})
	for _, m := range c.members {
		if m.running() && !m.began {
			m.began = true
			if said := m.line(); said != "began" {
				c.t.Errorf("%s wrote %q", m.title, said)
			}
		}
	}
}

// disperse ends the crowd. At the end there is nothing left.
func (c *crowd) disperse() {
	for _, m := range c.dying {
		m.endOrphan()
	}
	c.await("the last ones are failed", func() bool {
		return !slices.ContainsFunc(c.dying, func(m *member) bool { return !m.settled() })
	})
	c.bury()
	c.settle()
	waiting := slices.DeleteFunc(slices.Clone(c.members), (*member).running)
	for _, m := range waiting {
		m.ending = withdraws
		m.signal(syscall.SIGTERM)
	}
	for _, m := range waiting {
		m.wait()
	}
	for _, m := range c.members {
		if m.ending != withdraws {
			m.leave()
		}
	}
	for _, m := range c.members {
		if code := m.wait(); m.ending == leaves && code != 0 {
			c.t.Errorf("%s exited with %d: %s", m.title, code, m.stderr)
		}
	}
	c.refresh()
	for _, m := range c.byTitle {
		if m.record.Status.Ongoing() {
			c.t.Errorf("at the end, there is %+v", m.record)
		}
	}
}

// inspectMarks checks what the holders of each key wrote, one after the other: their fences ascend, and they are in
// the order of the queue.
func (c *crowd) inspectMarks() {
	files, err := filepath.Glob(filepath.Join(c.marks, "*"))
	if err != nil || len(files) == 0 {
		c.t.Fatal(files, err)
	}
	byID := map[string]*member{}
	for _, m := range c.byTitle {
		byID[m.record.ID] = m
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			c.t.Fatal(err)
		}
		var fence, place uint64
		for line := range strings.Lines(string(content)) {
			var what, id string
			var f uint64
			if _, err := fmt.Sscan(line, &what, &id, &f); err != nil {
				c.t.Fatalf("%s has %q: %v", file, line, err)
			}
			m := byID[id]
			switch {
			case what == "TERM":
				continue
			case what != "began", m == nil, f <= fence, m.place <= place:
				c.t.Errorf("%s: %q is out of order in\n%s", filepath.Base(file), line, content)
				continue
			}
			fence, place = f, m.place
		}
	}
}

// await waits for a condition of what the store has, of which it reads every change.
func (c *crowd) await(what string, holds func() bool) {
	c.t.Helper()
	kapitest.Eventually(c.t, c.blow.name+": "+what, func() bool {
		c.refresh()
		return holds()
	}, c.describe)
}

func (c *crowd) describe() string {
	var b strings.Builder
	for _, m := range c.byTitle {
		if m.record.ID == "" || m.record.Status.Ongoing() && (m.ending != none || !m.running() && !m.record.Waiting()) {
			fmt.Fprintf(&b, "%s, process %d, ending %q, noticed: %t, ends: %t, asked to end %d times, left: %d: %+v\n%s",
				m.title, m.pid(), m.ending, m.noticed(), m.ends(), m.count("TERM"), m.orphan(), m.record, m.stderr)
		}
	}
	return b.String()
}

// refresh reads what has changed in the store.
func (c *crowd) refresh() {
	page := feed(c.t, c.direct, c.seq)
	for i := range page.Records {
		c.see(&page.Records[i])
	}
	c.seq = page.Seq
}

// see checks a change: the test has caused it.
func (c *crowd) see(r *store.Record) {
	m := c.byTitle[r.Title]
	if m == nil {
		c.t.Errorf("nobody started %+v", r)
		return
	}
	was := m.record
	m.record = *r
	if m.place == 0 {
		m.place = cmp.Or(r.Ticket, r.Fence)
	}
	if fault := m.fault(&was); fault != "" {
		c.t.Errorf("%s: %s %s: it was %+v, and became %+v", c.blow.name, m.title, fault, was, *r)
	}
	switch {
	case r.Status == kapi.StatusRunning && was.Status == kapi.StatusRunning && m.ending != killed:
		c.silent++
	case m.ending == killed && m.settled():
		took := time.UnixMilli(r.UpdatedAt).Sub(m.since)
		c.took[m.blow.name] = append(c.took[m.blow.name], took)
		limit := failsWithin
		switch {
		case m.blow.stops > 1: // each one that is stopped has to be noticed
			limit += 2 * time.Second
		case m.blow.late: // it has to be noticed that nobody has asked the orphan to end
			limit += 4 * time.Second
		}
		if isSoak() && took > limit {
			c.t.Errorf("%s: %s failed after %v: %+v", m.blow.name, m.title, took, *r)
		}
	}
}
