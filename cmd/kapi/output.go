package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/kettubot/kapi/internal/supervise"
)

// awaitOutput waits until all of the command's output is written. The action has ended already, and its keys
// are free, so a reader that is stuck holds up only this process. A signal ends the wait.
func (j *job) awaitOutput() error {
	if j.tree == nil {
		return nil
	}
	for {
		select {
		case <-j.tree.Written():
			j.warnOfLoss()
			return nil
		default:
		}
		select {
		case <-j.tree.Written():
		case sig := <-j.signals.C():
			number, ok := sig.(syscall.Signal)
			switch {
			case !ok:
			case !ends(number):
				supervise.Suspend(number, j.place.quiesce)
			case supervise.Takes(os.Stderr):
				return &interruptedError{number, " before all of the command's output was read"}
			default: // a message would block, too
				j.haste = true
				return exitStatus(128 + int(number))
			}
		}
	}
}

// warnOfLoss warns if output could not be written, and makes that a failure: a socket may have broken after
// the end was recorded.
func (j *job) warnOfLoss() {
	lost := j.tree.Lost()
	if lost == nil {
		return
	}
	j.app.eprintf("output of the command was lost: %v", lost)
	j.result.Lost = lost
}

// withLoss adds to err that output was lost. That is a failure: the output may be all that the command is
// for, as with `> FILE`.
func withLoss(err, lost error) error {
	switch {
	case lost == nil:
		return err
	case err == nil:
		return fmt.Errorf("output was lost: %w", lost)
	}
	return fmt.Errorf("%w; output was lost: %w", err, lost)
}
