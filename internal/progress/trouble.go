package progress

import (
	"context"
	"fmt"
	"time"
)

// Left sets a text for the time after the command itself has ended while processes that it started
// still run. It replaces any state, until it is "".
func (t *Tracker) Left(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if text == t.left {
		return
	}
	t.left = text
	if text == "" {
		text = t.state
	}
	t.reporter.SetState(text)
	t.move()
}

// Fault makes the action impacted from now on, because of a fault that is not the command's.
func (t *Tracker) Fault(reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trouble(ourFault, reason)
}

// move records that the command advances.
func (t *Tracker) move() {
	t.moved = time.Now()
	if t.troubles[stalled] != "" {
		t.trouble(stalled, "")
	}
}

func (t *Tracker) trouble(kind int, reason string) {
	if t.troubles[kind] == reason {
		return
	}
	t.troubles[kind] = reason
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Run reports trouble and watches for stalls until ctx ends. Call it once.
func (t *Tracker) Run(ctx context.Context) {
	var look <-chan time.Time
	if t.stall > 0 {
		timer := time.NewTicker(min(max(t.stall/10, time.Millisecond), time.Second))
		defer timer.Stop()
		look = timer.C
	}
	last := ""
	for {
		select {
		case <-look:
			t.lookForStall()
		case <-t.wake:
		case <-ctx.Done():
			return
		}
		last = t.reportTrouble(last)
	}
}

func (t *Tracker) lookForStall() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.troubles[stalled] == "" && time.Since(t.moved) >= t.stall {
		t.trouble(stalled, "alive, but no progress for "+duration(t.stall))
	}
}

// reportTrouble reports the worst trouble, or that there is none any more, if that changed. It ignores
// errors: the reporter knows of them, and the next report will run into them, too.
func (t *Tracker) reportTrouble(last string) string {
	t.mu.Lock()
	worst := ""
	for _, reason := range t.troubles {
		if worst == "" {
			worst = reason
		}
	}
	t.mu.Unlock()
	switch {
	case worst == last:
	case worst == "":
		_ = t.reporter.Recovered()
	default:
		_ = t.reporter.Impacted(worst)
	}
	return worst
}

// duration formats ten minutes as "10 min".
func duration(d time.Duration) string {
	switch {
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d >= time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d%time.Second == 0:
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return d.String()
}
