//go:build unix

package supervise

import (
	"syscall"
	"time"
)

// An audience says which processes a signal was sent to.
type audience int

const (
	// unclear: not known yet.
	unclear audience = iota
	// oneself: this process alone.
	oneself
	// everybody: its whole process group. If the command is in that group, it has received the signal
	// too.
	everybody
)

// patience is how long the witness may take to receive a signal that this process has received.
const patience = 50 * time.Millisecond

// guess is used where there is no witness. In the foreground these signals come from the terminal, or
// from the shell's fg, both of which signal the whole group. A signal sent to this process alone looks
// the same and is dropped: a second SIGCONT could undo the next Ctrl-Z, and many programs take a second
// SIGINT to mean "at once". Other signals are assumed to be for this process alone.
func guess(sig syscall.Signal) audience {
	switch sig {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGCONT, syscall.SIGTSTP, syscall.SIGWINCH:
		if inForeground() {
			return everybody
		}
	}
	return oneself
}
