//go:build unix

package supervise

import (
	"syscall"
	"time"
)

// An audience says to whom a signal was sent.
type audience int

const (
	// unclear: it can't be told yet.
	unclear audience = iota
	// oneself: to this process alone.
	oneself
	// everybody: to its whole group, so that the command, if it is in there, has got it as well.
	everybody
)

// patience is for how long the witness may take to get what this process has got.
const patience = 50 * time.Millisecond

// guess is for where there is no witness. In the foreground these signals come from the terminal, or
// from the shell's fg, which tell the whole group. That somebody sends one to this process alone looks
// the same, and is dropped: a second SIGCONT could undo the next Ctrl-Z, and a second SIGINT means "at
// once" to many programs. Others are taken to be sent to this process.
func guess(sig syscall.Signal) audience {
	switch sig {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGCONT, syscall.SIGTSTP, syscall.SIGWINCH:
		if inForeground() {
			return everybody
		}
	}
	return oneself
}
