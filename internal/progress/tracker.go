package progress

import (
	"math"
	"sync"
	"time"
)

// A Reporter takes what a Tracker reports, as a kapi.Handle does. Impacted and Recovered may take
// their time; the others return at once.
type Reporter interface {
	SetProgress(float64)
	ResetProgress()
	SetState(string)
	Impacted(reason string) error
	Recovered() error
}

// A Tracker makes one report of all that a command says. Of several sources of progress the
// best that has spoken counts: notices, the terminal's escape, lines; until it says that it
// has no more to say. Its methods may be called concurrently, and wait for nobody.
type Tracker struct {
	reporter Reporter
	pattern  *Pattern // nil: guess
	stall    time.Duration

	mu       sync.Mutex
	guess    Guess
	source   source
	progress float64 // NaN while it is unknown
	stater   source
	state    string
	left     string // what is said instead of the state; see Left
	moved    time.Time
	troubles [kinds]string // why the action is impacted, by kind

	wake chan struct{} // troubles or moved are new; holds one
}

// source is where progress or state comes from; a higher one beats the lower ones.
type source int

const (
	nobody source = iota
	lines
	terminal
	notices
)

// The kinds of troubles, the worst first.
const (
	ourFault = iota
	said
	stalled
	kinds
)

// mostOfGuess is what a guess shows at most before the end.
const mostOfGuess = 0.99

// NewTracker returns a Tracker that reads lines by pattern, or guesses if that is nil. If
// neither progress nor state moves for stall, the action is impacted; 0 is no limit.
func NewTracker(r Reporter, pattern *Pattern, stall time.Duration) *Tracker {
	return &Tracker{
		reporter: r, pattern: pattern, stall: stall,
		progress: math.NaN(), moved: time.Now(), wake: make(chan struct{}, 1),
	}
}

// Line takes a line of output.
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

// Terminal takes what the terminal's progress escape says.
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

// Notice takes what the command says through systemd's notify protocol.
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

// Completed says that the command has succeeded: what was guessed is all done.
func (t *Tracker) Completed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pattern == nil && t.source == lines && !math.IsNaN(t.progress) {
		t.report(lines, 1, false)
	}
}

// report takes a progress; a lower one begins a new phase if anew is true, and is ignored
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

// reset makes the progress unknown, by the word of a source that goes on to count.
func (t *Tracker) reset(from source) {
	if from < t.source {
		return
	}
	t.source = from
	t.forget()
}

// giveUp takes note that a source says nothing of the progress any more: if it was the one
// that counts, the next to speak does.
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

// say takes a state; with an empty one a source says that it has no more to say, and the
// others count again.
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
