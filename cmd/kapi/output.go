package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/kettubot/kapi/internal/supervise"
)

// awaitOutput waits until all of the command's output is passed on. The action has ended by then, and its keys
// are free: a reader that doesn't read keeps this process only, which a signal ends.
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
				return &interruptedError{number, " before all of the command's output was taken"}
			default: // saying so would not end either
				j.haste = true
				return exitStatus(128 + int(number))
			}
		}
	}
}

// warnOfLoss says what could not be passed on, and makes that a failure: a socket may have broken when the
// end was recorded already.
func (j *job) warnOfLoss() {
	lost := j.tree.Lost()
	if lost == nil {
		return
	}
	j.app.eprintf("output of the command was lost: %v", lost)
	j.result.Lost = lost
}

// withLoss is err, and that output was lost, which may be what the command is for: `> FILE`.
func withLoss(err, lost error) error {
	switch {
	case lost == nil:
		return err
	case err == nil:
		return fmt.Errorf("output was lost: %w", lost)
	}
	return fmt.Errorf("%w; output was lost: %w", err, lost)
}
