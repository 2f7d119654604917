package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/kettubot/kapi"
)

// redrawEvery is the least time between two redraws.
const redrawEvery = 100 * time.Millisecond

// maxRows is more rows than any screen has.
const maxRows = 512

// bars shows the ongoing actions on a terminal, as rows that are redrawn in place below the lines of
// the actions that have ended.
type bars struct {
	screen   *screen
	progress *mpb.Progress
	refresh  chan any
	gone     chan any // closed when drawing has stopped
	drawn    atomic.Pointer[[]string]
	slots    []*mpb.Bar // one per line
	stop     context.CancelFunc
	drawing  sync.WaitGroup

	mu      sync.Mutex
	rows    *rows
	printed bool // a line waits to be shown above the rows
}

// canDraw returns w if it is a terminal that can be drawn on, nil otherwise.
func canDraw(w io.Writer) *os.File {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" && os.PathSeparator == '/' {
		return nil
	}
	return f
}

func newBars(terminal *os.File) *bars {
	b := &bars{
		screen: newScreen(terminal), refresh: make(chan any), gone: make(chan any),
		rows: newRows(os.Getenv("NO_COLOR") == ""),
	}
	b.drawn.Store(&[]string{})
	b.progress = mpb.New(mpb.WithConsoleWriter(b.screen), mpb.WithManualRefresh(b.refresh), mpb.WithQueueLen(maxRows), mpb.WithShutdownNotifier(b.gone))
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	b.drawing.Go(func() { b.draw(ctx) })
	return b
}

func (b *bars) begin(ongoing []kapi.Action) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows.retain(ongoing)
}

func (b *bars) show(a kapi.Action, settled bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows.update(time.Now(), a)
	if settled {
		_, _ = fmt.Fprintln(b.progress, changeLine(a)) // it fails if the terminal is gone
		b.printed = true
	}
	return b.lost()
}

// lost returns why drawing has stopped, nil if it has not.
func (b *bars) lost() error {
	select {
	case <-b.gone:
		return fmt.Errorf("the terminal is gone: %w", b.progress.Error)
	default:
		return nil
	}
}

// end removes the rows, and leaves the cursor below the lines above them.
func (b *bars) end() {
	b.stop()
	b.drawing.Wait()
	b.redraw(nil)
	b.progress.Wait()
}

// draw redraws the rows whenever they have changed, until ctx ends.
func (b *bars) draw(ctx context.Context) {
	tick := time.NewTicker(redrawEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		width, height, err := b.screen.room()
		if err != nil {
			continue // mpb gets this error, too
		}
		b.mu.Lock()
		lines := b.rows.lines(time.Now(), width, height)
		printed := b.printed
		b.printed = false
		b.mu.Unlock()
		if printed || !slices.Equal(lines, *b.drawn.Load()) {
			b.redraw(lines)
		}
	}
}

func (b *bars) redraw(lines []string) {
	times := 1
	if b.resize(lines) {
		times = 2 // a slot that is removed is drawn once more
	}
	for range times {
		select {
		case b.refresh <- time.Now():
		case <-b.gone:
		}
	}
}

// resize adds or removes slots until there is one for each line. It returns whether it removed any.
func (b *bars) resize(lines []string) bool {
	b.drawn.Store(&lines)
	fewer := len(lines) < len(b.slots)
	for i := len(b.slots); i < len(lines); i++ {
		slot, err := b.progress.Add(0, b.filler(i), mpb.BarPriority(i), mpb.BarFillerTrim())
		if err != nil {
			return false // the terminal is gone
		}
		b.slots = append(b.slots, slot)
	}
	for _, slot := range b.slots[len(lines):] {
		slot.Abort(true)
	}
	b.slots = b.slots[:len(lines)]
	return fewer
}

// filler returns the function that draws the line of a slot.
func (b *bars) filler(slot int) mpb.BarFillerFunc {
	return func(w io.Writer, _ decor.Statistics) error {
		lines := *b.drawn.Load()
		if slot >= len(lines) {
			return nil
		}
		_, err := io.WriteString(w, lines[slot])
		return err
	}
}
