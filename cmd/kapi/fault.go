package main

import (
	"fmt"
	"strings"

	"github.com/kettubot/kapi/internal/fault"
)

// A panic of kapi itself is printed with its stack, and kapi exits with exitFault. A command that is
// running is not stopped: its action is shown as impacted, and kapi exits when the command has ended.

// mostStacks is how many panics of a job are printed, as one may be repeated endlessly.
const mostStacks = 3

// caught is called with each panic while the job runs.
func (j *job) caught(p *fault.Panic) {
	j.faulty.CompareAndSwap(nil, p)
	if j.panics.Add(1) <= mostStacks {
		j.app.printFault(p)
	}
	if tracker := j.tracker.Load(); tracker != nil {
		tracker.Fault(fmt.Sprintf("kapi itself has failed, but the command is still running: %v", p))
	}
}

func (a *app) printFault(p *fault.Panic) {
	a.eprintf("kapi itself has failed: %v\n%s", p, lines(strings.ReplaceAll(strings.TrimSpace(string(p.Stack)), "\t", "    ")))
}

// blame returns the error with which the action fails after a panic.
func (j *job) blame(p *fault.Panic) error {
	if j.result == nil {
		return fmt.Errorf("kapi itself has failed, and the command was not run: %w", p)
	}
	return fmt.Errorf("kapi itself has failed: %w; the command: %s", p, j.result)
}
