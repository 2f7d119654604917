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

// A terminal is a pseudo-terminal that stands for a real one, or for none. The command's controlling
// terminal remains the real one, so Ctrl-C, Ctrl-Z, Ctrl-\ and typed input work without help. Data
// passes through unchanged, and the real terminal processes it. Only the modes that a program sets on
// its output (a full-screen program turns echo off) must be copied to the real terminal; those that it
// sets on its input or on /dev/tty apply to the real one directly. One change can't be seen: OPOST is
// off here from the start, so when a program switches it off (cfmakeraw on its output), line feeds
// still return the carriage.
type terminal struct {
	master, slave *os.File
	real          *os.File // nil if there is none

	mu       sync.Mutex
	seen     unix.Termios // modes of the slave
	original unix.Termios // modes of the real one
	due      bool         // the modes in seen have not been copied yet
	changed  bool         // the real one's modes differ from the original ones
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
	// The file from this package is in blocking mode, so a read of it could not be interrupted.
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

// stands says whether there is a real terminal.
func (t *terminal) stands() bool { return t.real != nil }

// resize gives it the real one's size, or the traditional one if there is none. It says whether the
// size changed.
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

// mirror copies the modes that the command has set to the real terminal.
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

// apply sets the real one to the modes last seen. t.mu must be held.
func (t *terminal) apply() {
	if t.released || !inForeground() { // in the background that would stop us
		return
	}
	modes := t.original
	modes.Lflag, modes.Iflag, modes.Cc = t.seen.Lflag, t.seen.Iflag, t.seen.Cc
	modes.Oflag = t.seen.Oflag&^unix.OPOST | t.original.Oflag&unix.OPOST
	_ = unix.IoctlSetTermios(int(descriptor(t.real)), setModes, &modes)
	t.due, t.changed = false, true
}

// release restores the real one's original modes; take undoes that.
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

// control calls f with the master's descriptor, if that is still open.
func (t *terminal) control(f func(fd int)) {
	if raw, err := t.master.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// descriptor returns a file's descriptor. For our standard files it is known; Fd would change the mode
// of a file that others have open, too.
func descriptor(f *os.File) uintptr {
	switch f {
	case os.Stdout:
		return 1
	case os.Stderr:
		return 2
	}
	return f.Fd()
}
