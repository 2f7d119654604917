//go:build unix

package supervise

import (
	"os"
	"sync"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// HasTerminals says whether the system has pseudo-terminals.
const HasTerminals = true

// A terminal is a pseudo-terminal that stands for a real one, or for none. It is not the
// command's controlling terminal: that stays the real one, so that Ctrl-C, Ctrl-Z, Ctrl-\ and
// whatever is typed need no help. Nothing is done to what goes through it: the real one does
// that. Only the modes that a program sets on its output (a full-screen program, not to echo)
// must be handed on; those that it sets on its input or on /dev/tty are the real one's already. One
// change can't be seen: OPOST, which is off here from the start, so that a program that
// switches it off (cfmakeraw on its output) still has its line feeds return the carriage.
type terminal struct {
	master, slave *os.File
	real          *os.File // nil if there is none

	mu       sync.Mutex
	seen     unix.Termios // of the slave
	original unix.Termios // of the real one
	due      bool         // what was seen is still to be handed on
	changed  bool         // the real one's modes are not as they were
	released bool
}

func openTerminal(real *os.File) (*terminal, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, err
	}
	defer master.Close()
	t := &terminal{slave: slave, real: real}
	if err := t.setUp(master); err != nil {
		_ = slave.Close()
		return nil, err
	}
	return t, nil
}

func (t *terminal) setUp(master *os.File) error {
	// The package leaves it blocking, so that reading it could not be ended.
	fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return err
	}
	t.master = os.NewFile(uintptr(fd), master.Name())
	modes, err := unix.IoctlGetTermios(int(t.slave.Fd()), getModes)
	if err != nil {
		_ = t.master.Close()
		return err
	}
	if t.real != nil {
		if real, err := unix.IoctlGetTermios(int(descriptor(t.real)), getModes); err == nil {
			t.original = *real
			*modes = *real
		}
	}
	modes.Oflag &^= unix.OPOST // line ends stay as they are
	if err := unix.IoctlSetTermios(int(t.slave.Fd()), setModes, modes); err != nil {
		_ = t.master.Close()
		return err
	}
	t.seen = *modes
	t.resize()
	return nil
}

// stands says whether it stands for a real one.
func (t *terminal) stands() bool { return t.real != nil }

// resize gives it the size of the real one, or the traditional one. It says whether that is
// another than before.
func (t *terminal) resize() (changed bool) {
	size := &unix.Winsize{Row: 24, Col: 80}
	if t.real != nil {
		if real, err := unix.IoctlGetWinsize(int(descriptor(t.real)), unix.TIOCGWINSZ); err == nil {
			size = real
		}
	}
	t.control(func(fd int) {
		before, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
		changed = err == nil && *before != *size
		_ = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size)
	})
	return changed
}

// mirror hands on the modes that the command has set.
func (t *terminal) mirror() {
	if t.real == nil {
		return
	}
	t.control(func(fd int) {
		modes, err := unix.IoctlGetTermios(fd, getModes)
		if err != nil {
			return
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if modes.Lflag != t.seen.Lflag || modes.Iflag != t.seen.Iflag || modes.Oflag != t.seen.Oflag || modes.Cc != t.seen.Cc {
			t.seen, t.due = *modes, true
		}
		if t.due {
			t.apply()
		}
	})
}

// apply gives the real one the modes last seen. t.mu is held.
func (t *terminal) apply() {
	if t.released || !inForeground() { // from the background it would stop us
		return
	}
	modes := t.original
	modes.Lflag, modes.Iflag, modes.Cc = t.seen.Lflag, t.seen.Iflag, t.seen.Cc
	modes.Oflag = t.seen.Oflag&^unix.OPOST | t.original.Oflag&unix.OPOST
	_ = unix.IoctlSetTermios(int(descriptor(t.real)), setModes, &modes)
	t.due, t.changed = false, true
}

// release gives the real one back as it was found; take undoes that.
func (t *terminal) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.released = true
	if t.changed && inForeground() {
		_ = unix.IoctlSetTermios(int(descriptor(t.real)), setModes, &t.original)
	}
}

func (t *terminal) take() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.released = false
	if t.changed {
		t.due = true
		t.apply()
	}
}

// control calls f with the master's file, if that is still open.
func (t *terminal) control(f func(fd int)) {
	if raw, err := t.master.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// descriptor returns a file's number. For our own standard ones that is known: Fd would change
// the mode of a file that others have open, too.
func descriptor(f *os.File) uintptr {
	switch f {
	case os.Stdout:
		return 1
	case os.Stderr:
		return 2
	}
	return f.Fd()
}
