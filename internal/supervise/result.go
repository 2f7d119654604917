package supervise

import (
	"errors"
	"fmt"
	"syscall"
)

// A Result says how the command ended. It is that of the command itself, not of
// what it left running and what ended later.
type Result struct {
	// Code is what a shell would have in $?: the exit status, or 128 and the
	// signal's number.
	Code int
	// Signal is what killed the command, 0 if it ended by itself.
	Signal syscall.Signal
	// LastLine is the last line with something on it that the tree wrote to its
	// standard error: no control characters, no escape sequences, at most 200
	// characters.
	LastLine string
	// Lost says why output of the command could not be passed on (a full disk), nil if all was.
	// A reader that has gone is none of kapi's losses: the command learns of it (SIGPIPE).
	Lost error

	// unknown says why nothing is known of how the command itself ended.
	unknown error
}

func newResult(status syscall.WaitStatus, unknown error, last string) Result {
	if unknown != nil {
		return Result{Code: 1, LastLine: last, unknown: unknown}
	}
	r := Result{Code: status.ExitStatus(), LastLine: last}
	if status.Signaled() {
		r.Signal = status.Signal()
		r.Code = 128 + int(r.Signal)
	}
	return r
}

// Err is nil if the command succeeded, or says how it failed, as in "exit status
// 3: no space left on device".
func (r Result) Err() error {
	if r.Code == 0 {
		return nil
	}
	text := r.String()
	if r.LastLine != "" {
		text += ": " + r.LastLine
	}
	return errors.New(text)
}

// String says how the command ended, in a few words.
func (r Result) String() string {
	if r.unknown != nil {
		return fmt.Sprintf("exit status unknown: %v", r.unknown)
	}
	if r.Signal != 0 {
		return fmt.Sprintf("killed by signal %d (%s)", int(r.Signal), signalName(r.Signal))
	}
	return fmt.Sprintf("exit status %d", r.Code)
}
