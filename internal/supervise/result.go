package supervise

import (
	"errors"
	"fmt"
	"syscall"
)

// A Result says how the command ended. It is about the command itself, not about processes that it left
// running.
type Result struct {
	// Code is the exit status as in a shell's $?: the command's own, or 128 plus the signal number.
	Code int
	// Signal is the signal that killed the command, 0 if it exited.
	Signal syscall.Signal
	// LastLine is the last non-blank line that the tree wrote to standard error, without control
	// characters and escape sequences, cut to 200 code points.
	LastLine string
	// Lost says why output of the command could not be passed on (a full disk); nil if all was. Output
	// whose reader has gone doesn't count: the command learns of that itself (SIGPIPE).
	Lost error

	// unknown says why the command's exit status is not known.
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

// Err returns nil if the command succeeded, otherwise an error such as "exit status 3: no space left on
// device".
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

// String says in a few words how the command ended.
func (r Result) String() string {
	if r.unknown != nil {
		return fmt.Sprintf("exit status unknown: %v", r.unknown)
	}
	if r.Signal != 0 {
		return fmt.Sprintf("killed by signal %d (%s)", int(r.Signal), signalName(r.Signal))
	}
	return fmt.Sprintf("exit status %d", r.Code)
}
