package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/kettubot/kapi"
)

// rows are the ongoing actions as a terminal shows them, one per line.
type rows struct {
	byID   map[string]*row
	colour bool
	bar    mpb.BarFiller
}

type row struct {
	action   kapi.Action
	estimate estimate
}

func newRows(colour bool) *rows {
	return &rows{byID: map[string]*row{}, colour: colour, bar: mpb.BarStyle().Build()}
}

// retain removes all rows but those of the given actions.
func (r *rows) retain(ongoing []kapi.Action) {
	kept := seqs(ongoing)
	for id := range r.byID {
		if _, ok := kept[id]; !ok {
			delete(r.byID, id)
		}
	}
}

// update adds, changes or removes the row of an action.
func (r *rows) update(now time.Time, a kapi.Action) {
	if !a.Status.Ongoing() {
		delete(r.byID, a.ID)
		return
	}
	if r.byID[a.ID] == nil {
		r.byID[a.ID] = &row{}
	}
	r.byID[a.ID].action = a
	r.byID[a.ID].estimate.observe(now, a.Progress)
}

// urgency is the order of the rows, the most urgent first.
var urgency = []kapi.Status{kapi.StatusFailed, kapi.StatusImpacted, kapi.StatusRunning, kapi.StatusPending}

// byUrgency compares rows by their order on the screen.
func byUrgency(a, b *row) int {
	return cmp.Or(
		cmp.Compare(slices.Index(urgency, a.action.Status), slices.Index(urgency, b.action.Status)),
		cmp.Compare(a.action.CreatedAt, b.action.CreatedAt),
		cmp.Compare(a.action.ID, b.action.ID),
	)
}

// first returns the n most urgent rows, in order. Only a few of many rows fit on a screen, so the others are
// not sorted.
func (r *rows) first(n int) (shown []*row) {
	for _, row := range r.byID {
		if len(shown) == n && (n == 0 || byUrgency(row, shown[n-1]) > 0) {
			continue
		}
		at, _ := slices.BinarySearchFunc(shown, row, byUrgency)
		shown = slices.Insert(shown, at, row)
		shown = shown[:min(len(shown), n)]
	}
	return shown
}

// lines draws the rows on at most height lines, none wider than width.
func (r *rows) lines(now time.Time, width, height int) (lines []string) {
	fit := height
	if len(r.byID) > height {
		fit = max(height-1, 0)
	}
	shown := r.first(fit)
	titles := 0
	for _, row := range shown {
		titles = max(titles, runewidth.StringWidth(plain(row.action.Title)))
	}
	titles = min(titles, max(8, width/4))
	for _, row := range shown {
		lines = append(lines, r.line(now, row, width, titles))
	}
	if more := len(r.byID) - len(shown); more > 0 && height > 0 {
		line := &cells{left: width}
		line.add("", fmt.Sprintf("and %d more", more))
		lines = append(lines, line.String())
	}
	return lines
}

const (
	statusCell  = len("impacted")
	percentCell = len("100%")
	elapsedCell = len("23h59m")
	leftCell    = len("23h55m left")
)

func (r *rows) line(now time.Time, row *row, width, titles int) string {
	a, c := row.action, &cells{left: width, colour: r.colour}
	c.add("", fit(plain(a.Title), titles))
	c.add(colours[a.Status], fit(a.Status.String(), statusCell))
	switch { // on a narrow terminal, texts need the room of the bar
	case width >= 110:
		c.add("", fit(r.barOf(now, a, 30), 30))
	case width >= 79:
		c.add("", fit(r.barOf(now, a, 15), 15))
	}
	c.add("", fmt.Sprintf("%*s", percentCell, progressText(a.Progress)))
	c.add("", fit(elapsed(now, a), elapsedCell))
	left := ""
	if d, ok := row.estimate.left(now); ok && a.Status.Active() {
		left = leftText(d) + " left"
	}
	if left != "" || width >= 79 {
		c.add("", fit(left, leftCell))
	}
	if text := saying(a); text != "" {
		c.add("", text)
	}
	return c.String()
}

var colours = map[kapi.Status]string{
	kapi.StatusPending: "36", kapi.StatusRunning: "32", kapi.StatusImpacted: "33", kapi.StatusFailed: "31",
}

// barOf draws a bar, or a block that moves back and forth while the progress is unknown.
func (r *rows) barOf(now time.Time, a kapi.Action, width int) string {
	var b strings.Builder
	switch {
	case a.Progress != nil:
		const whole = 1000
		done := int64(*a.Progress * whole)
		_ = r.bar.Fill(&b, decor.Statistics{AvailableWidth: width, RequestedWidth: width, Total: whole, Current: done, Completed: done == whole})
	case a.Status == kapi.StatusRunning || a.Status == kapi.StatusImpacted:
		const block, pace = "===", 500 * time.Millisecond
		room := width - 2 - len(block)
		at := int(now.UnixMilli()/pace.Milliseconds()) % (2 * room)
		at = min(at, 2*room-at)
		b.WriteString("[" + strings.Repeat("-", at) + block + strings.Repeat("-", room-at) + "]")
	}
	return b.String()
}

// elapsed says how long the operation has been running, or ran until it failed.
func elapsed(now time.Time, a kapi.Action) string {
	if a.Status == kapi.StatusFailed {
		now = time.UnixMilli(a.UpdatedAt)
	}
	return ageText(now, cmp.Or(a.StartedAt, a.CreatedAt))
}

// leftText formats a remaining time. It rounds up, and more coarsely the longer the time is.
func leftText(d time.Duration) string {
	const day = 24 * time.Hour
	unit := time.Hour
	switch {
	case d > 9*day:
		return fmt.Sprintf("%dd", (d+day-1)/day)
	case d <= time.Minute:
		unit = 5 * time.Second
	case d <= 10*time.Minute-10*time.Second:
		unit = 10 * time.Second
	case d <= time.Hour:
		unit = time.Minute
	case d <= day:
		unit = 5 * time.Minute
	}
	d = (d + unit - 1) / unit * unit
	switch text := ageText(time.UnixMilli(d.Milliseconds()), 0); {
	case unit == time.Minute:
		return strings.TrimSuffix(text, "00s")
	case unit == time.Hour:
		return strings.TrimSuffix(text, "00h")
	default:
		return text
	}
}

// fit cuts or pads a text to a width.
func fit(text string, width int) string {
	return runewidth.FillRight(runewidth.Truncate(text, width, "…"), width)
}

// cells joins texts with spaces until a line is full.
type cells struct {
	b      strings.Builder
	left   int
	colour bool
}

func (c *cells) add(colour, text string) {
	if c.b.Len() > 0 {
		c.b.WriteString(" ")
		c.left--
	}
	if c.left <= 0 {
		return
	}
	text = runewidth.Truncate(text, c.left, "…")
	c.left -= runewidth.StringWidth(text)
	if c.colour && colour != "" {
		text = "\x1b[" + colour + "m" + text + "\x1b[0m"
	}
	c.b.WriteString(text)
}

func (c *cells) String() string { return strings.TrimRight(c.b.String(), " ") }
