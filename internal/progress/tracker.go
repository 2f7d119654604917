package progress

import (
	"math"
	"sync"
	"time"
)

// A Reporter receives what a Tracker reports; a kapi.Handle is one. Impacted and Recovered may block;
// the other methods must not.
type Reporter interface {
	SetProgress(float64)
	ResetProgress()
	SetState(string)
	Impacted(reason string) error
	Recovered() error
}

// A Tracker combines everything that a command says into one report. The best source of progress that
// has spoken counts (notices, then the terminal's escape, then lines), until it says that it has
// nothing more to report. Its methods may be called concurrently; only Run blocks.
type Tracker struct {
	reporter Reporter
	pattern  *Pattern // nil: guess
	stall    time.Duration

	mu       sync.Mutex
	guess    Guess
	source   source
	progress float64 // NaN while unknown
	stater   source
	state    string
	left     string // replaces the state; see Left
	moved    time.Time
	troubles [kinds]string // by kind: why the action is impacted

	wake chan struct{} // has capacity one; signals that troubles or moved changed
}

// source is where progress or state comes from; higher values take precedence.
type source int

const (
	nobody source = iota
	lines
	terminal
	notices
)

// The kinds of trouble, the worst first.
const (
	ourFault = iota
	said
	stalled
	kinds
)

// mostOfGuess is the highest progress that a guess reports before the end.
const mostOfGuess = 0.99

// NewTracker returns a Tracker that reads lines with pattern, or guesses if pattern is nil. If neither
// progress nor state changes for stall, the action is impacted; 0 means no limit.
func NewTracker(r Reporter, pattern *Pattern, stall time.Duration) *Tracker {
	return &Tracker{
		reporter: r, pattern: pattern, stall: stall,
		progress: math.NaN(), moved: time.Now(), wake: make(chan struct{}, 1),
	}
}

// Line handles a line of output.
func (t *Tracker) Line(line []byte) {
	if t.pattern == nil && !hasPercent(line) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pattern == nil {
		t.guessFrom(line)
		return
	}
	r, ok := t.pattern.Read(line)
	if !ok {
		return
	}
	if r.Progress != nil {
		t.report(lines, *r.Progress, t.progress == 1)
	}
	if r.State != nil {
		t.say(lines, *r.State)
	}
}

func (t *Tracker) guessFrom(line []byte) {
	switch hint, percent := t.guess.Read(line); hint {
	case Advanced:
		t.report(lines, min(hundredth(percent), mostOfGuess), true)
	case Restarted:
		t.reset(lines)
	}
}

// Terminal handles a progress escape.
func (t *Tracker) Terminal(p TerminalProgress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	trouble := ""
	switch p.State {
	case TerminalNone:
		t.giveUp(terminal)
	case TerminalUnknown:
		t.reset(terminal)
	case TerminalError:
		trouble = "the command reports an error"
	case TerminalPaused:
		trouble = "the command is paused"
	}
	if p.Progress >= 0 && p.State != TerminalNone && p.State != TerminalUnknown {
		t.report(terminal, p.Progress, t.progress == 1)
	}
	t.trouble(said, trouble)
}

// Notice handles a datagram of systemd's notify protocol.
func (t *Tracker) Notice(n Notice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case n.None:
		t.giveUp(notices)
	case n.Unknown:
		t.reset(notices)
	}
	if n.Progress != nil {
		t.report(notices, *n.Progress, false)
	}
	switch {
	case n.State != nil:
		t.say(notices, *n.State)
	case n.Stopping:
		t.say(notices, "stopping")
	}
	if n.Ready {
		t.trouble(said, "")
	}
}

// Completed says that the command succeeded, so guessed progress is complete.
func (t *Tracker) Completed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pattern == nil && t.source == lines && !math.IsNaN(t.progress) {
		t.report(lines, 1, false)
	}
}

// report takes a progress value. A lower one begins a new phase if anew is true, and is ignored
// otherwise.
func (t *Tracker) report(from source, p float64, anew bool) {
	if from < t.source {
		return
	}
	if p < t.progress {
		if !anew && from == t.source {
			return
		}
		t.reporter.ResetProgress()
	}
	t.source = from
	if p == t.progress {
		return
	}
	t.progress = p
	t.reporter.SetProgress(p)
	t.move()
}

// reset makes the progress unknown because a source says so. If a better one counts, nothing happens; otherwise
// this one counts from then on.
func (t *Tracker) reset(from source) {
	if from < t.source {
		return
	}
	t.source = from
	t.forget()
}

// giveUp is called when a source has no more progress to report. If it was the one that counts, the
// next source to speak takes over.
func (t *Tracker) giveUp(from source) {
	if from == t.source {
		t.source = nobody
		t.forget()
	}
}

func (t *Tracker) forget() {
	if math.IsNaN(t.progress) {
		return
	}
	t.progress = math.NaN()
	t.reporter.ResetProgress()
	t.move()
}

// say takes a state; with "" the source has nothing more to say, and the others count again.
func (t *Tracker) say(from source, state string) {
	if from < t.stater {
		return
	}
	t.stater = from
	if state == "" {
		t.stater = nobody
	}
	if state == t.state {
		return
	}
	t.state = state
	if t.left == "" {
		t.reporter.SetState(state)
	}
	t.move()
}
