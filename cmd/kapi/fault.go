package main

import (
	"fmt"
	"strings"

	"github.com/kettubot/kapi/internal/fault"
)

// A panic of kapi's own is a fault that is printed with its stack, and ends kapi with exitFault. A
// command that runs by then is left to run: its action is shown as impacted, kapi stays with it, and
// exits when it has ended.

// mostStacks is how many panics are printed: one may come again and again.
const mostStacks = 3

// caught is called with the panics while this job goes on.
func (j *job) caught(p *fault.Panic) {
	j.faulty.CompareAndSwap(nil, p)
	if j.panics.Add(1) <= mostStacks {
		j.app.printFault(p)
	}
	if tracker := j.tracker.Load(); tracker != nil {
		tracker.Fault(fmt.Sprintf("kapi itself has failed, and the command goes on: %v", p))
	}
}

func (a *app) printFault(p *fault.Panic) {
	a.eprintf("a fault of kapi's own: %v\n%s", p, lines(strings.ReplaceAll(strings.TrimSpace(string(p.Stack)), "\t", "    ")))
}

// blame is what the action fails with then.
func (j *job) blame(p *fault.Panic) error {
	if j.result == nil {
		return fmt.Errorf("kapi itself has failed, and the command was not run: %w", p)
	}
	return fmt.Errorf("kapi itself has failed: %w; the command: %s", p, j.result)
}
