package browser

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/performance"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
)

// BenchmarkPage (make bench-page) has the page show 1,000 actions with 100 updates a second, of which
// one ends an action and one starts one, for two minutes each on a laptop, on a wide screen, and with a
// filter by text. No task may take more than 50 ms, the median of script and layout per paint may be at
// most 8 ms, and neither memory nor the document may grow.
func BenchmarkPage(b *testing.B) {
	wide := look{name: "wide", width: 1920, height: 1080, scale: 1}
	wall := look{name: "wall", width: 3840, height: 2160, scale: 1}
	for name, on := range map[string]struct {
		look   look
		filter string
	}{
		"laptop": {desktop, ""}, "wide": {wide, ""}, "wall": {wall, ""}, "filter": {desktop, "#/?q=step+action"},
	} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				benchPage(b, on.look, on.filter, *benchFor)
			}
		})
	}
}

var benchFor = flag.Duration("page-for", 2*time.Minute, "how long to measure the page")

// countPaints counts the frames that the page itself requests, and records its long tasks.
const countPaints = `
	window.paints = 0;
	window.tasks = [];
	window.measuredAt = 0;
	const ask = requestAnimationFrame;
	let last = 0;
	window.requestAnimationFrame = (paint) => ask((at) => {
		if (at !== last) paints++;
		last = at;
		paint(at);
	});
	new PerformanceObserver((list) => {
		for (const task of list.getEntries()) if (task.startTime > window.measuredAt) tasks.push(Math.round(task.duration));
	}).observe({ type: "longtask", buffered: true });`

func benchPage(b *testing.B, l look, filter string, long time.Duration) {
	const actions, perSecond = 1000, 100
	s := newSite(b)
	c := newCrowd(b, s.peer(), actions)
	page := open(b, l)
	call(page, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: countPaints})
	page.signIn(s)
	page.visit(s.url + filter)
	page.await("all rows are shown", fmt.Sprintf(`document.querySelectorAll(".row").length === %d`, actions))
	evaluate[bool](page, `(tasks.length = 0, true)`)                                                              // those from loading
	call(page, performance.Enable, performance.EnableParams{TimeDomain: performance.EnableTimeDomainThreadTicks}) // time of other processes does not count
	ctx, stop := context.WithCancel(context.Background())
	var updating sync.WaitGroup
	updating.Go(func() { c.update(ctx, perSecond) })
	defer updating.Wait()
	defer stop()

	var costs []float64 // per paint, in ms
	start := time.Now()
	first, before := page.spent(), page.spent()
	var early, late kept
	for time.Since(start) < long {
		time.Sleep(500 * time.Millisecond)
		now := page.spent()
		if painted := now.paints - before.paints; painted > 0 {
			costs = append(costs, 1000*(now.work()-before.work())/painted)
		}
		before = now
		if early.heap == 0 && time.Since(start) > long/2 { // the list of ended actions is full
			early = page.kept()
			evaluate[bool](page, `(measuredAt = performance.now(), true)`) // ignores the tasks of the garbage collection
		}
	}
	late = page.kept()
	all := before.since(first)
	slices.Sort(costs)
	median := costs[len(costs)/2]
	tasks := evaluate[[]int](page, `tasks`)
	b.ReportMetric(median, "ms/paint")
	b.ReportMetric(all.paints/time.Since(start).Seconds(), "paints/s")
	b.ReportMetric(float64(len(tasks)), "long-tasks")
	b.ReportMetric(early.heap/1e6, "MB-at-half")
	b.ReportMetric(late.heap/1e6, "MB-at-end")
	b.Logf("tasks over 50 ms: %v; a paint: %.1f ms in the median, %.1f in the mean: script %.1f, style %.1f, layout %.1f; %.0f paints; at half and end: memory %.1f, %.1f MB; nodes %.0f, %.0f; listeners %.0f, %.0f",
		tasks, median, 1000*all.work()/all.paints, 1000*all.script/all.paints, 1000*all.style/all.paints, 1000*all.layout/all.paints, all.paints,
		early.heap/1e6, late.heap/1e6, early.nodes, late.nodes, early.listeners, late.listeners)
	if len(tasks) > 0 || median > 8 {
		b.Error("the page is too slow")
	}
	// A row has about fifty nodes, and the number of ended actions shown varies.
	if late.heap > 1.1*early.heap+1e6 || late.nodes > early.nodes+600 || late.listeners > early.listeners+20 {
		b.Error("memory or the document grows")
	}
	page.quiet()
}

// A crowd is many operations, each of which ends when told to.
type crowd struct {
	b       *testing.B
	peer    *peer.Peer
	members []*member
	began   int
}

type member struct {
	handle   kapi.Handle
	progress float64
	end      chan struct{}
}

func newCrowd(b *testing.B, p *peer.Peer, n int) *crowd {
	b.Helper()
	c := &crowd{b: b, peer: p}
	for range n {
		c.members = append(c.members, c.start())
	}
	return c
}

func (c *crowd) start() *member {
	m := &member{end: make(chan struct{})}
	running := make(chan kapi.Handle, 1)
	name := fmt.Sprint(c.began)
	c.began++
	_, err := c.peer.Start(c.b.Context(), kapi.Spec{Title: "Action " + name, Description: "One of many.", Keys: []string{"key:" + name}},
		func(ctx context.Context, h kapi.Handle) error {
			h.SetState("step 0")
			running <- h
			select {
			case <-m.end:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	if err != nil {
		c.b.Error(err)
		return m
	}
	m.handle = <-running
	return m
}

// update reports on one operation after the other. It has some change their status, and so their place,
// and every second one end and another start.
func (c *crowd) update(ctx context.Context, perSecond int) {
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		i := rand.N(len(c.members))
		if n%2 == 0 {
			i = rand.N(20) // the oldest are on top, where people look
		}
		if n%perSecond == perSecond/4 {
			i = 20 + rand.N(len(c.members)-20)
			close(c.members[i].end)
			c.members[i] = c.start()
		}
		m := c.members[i]
		m.progress += (1 - m.progress) / 50
		m.handle.SetProgress(m.progress)
		m.handle.SetState(fmt.Sprint("step ", n))
		switch n % 200 {
		case 0:
			_ = c.members[7].handle.Impacted("slow for a while")
		case 100:
			_ = c.members[7].handle.Recovered()
		}
	}
}

type spent struct{ script, style, layout, paints float64 }

func (s spent) work() float64 { return s.script + s.style + s.layout }

func (s spent) since(before spent) spent {
	return spent{s.script - before.script, s.style - before.style, s.layout - before.layout, s.paints - before.paints}
}

// spent returns what script, style and layout have cost so far, in seconds.
func (b *tab) spent() spent {
	b.t.Helper()
	m := b.metrics()
	return spent{m["ScriptDuration"], m["RecalcStyleDuration"], m["LayoutDuration"], evaluate[float64](b, "paints")}
}

// kept is what a page holds after a garbage collection.
type kept struct{ heap, nodes, listeners float64 }

func (b *tab) kept() kept {
	b.t.Helper()
	call(b, heapprofiler.CollectGarbage, cdp.Empty{})
	m := b.metrics()
	return kept{m["JSHeapUsedSize"], m["Nodes"], m["JSEventListeners"]}
}

func (b *tab) metrics() map[string]float64 {
	b.t.Helper()
	all := map[string]float64{}
	for _, m := range call(b, performance.GetMetrics, cdp.Empty{}).Metrics {
		all[m.Name] = m.Value
	}
	return all
}
