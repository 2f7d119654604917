package keep

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// lock takes an exclusive lock on one byte. got is false if another open file description has it.
func lock(f *os.File, at int64) (got bool, err error) {
	err = control(f, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: at, Len: 1})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	return err == nil, err
}

func unlock(f *os.File, from, n int64) error {
	return control(f, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK, Start: from, Len: n})
}

// held returns the position, counted from 1, of the first byte of a range that another open file
// description has locked, 0 if there is none.
func held(f *os.File, from, n int64) (int64, error) {
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: from, Len: n}
	err := control(f, unix.F_OFD_GETLK, &l)
	if err != nil || l.Type == unix.F_UNLCK {
		return 0, err
	}
	return l.Start - from + 1, nil
}

func control(f *os.File, command int, l *unix.Flock_t) error {
	l.Whence = io.SeekStart
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.FcntlFlock(fd, command, l) })
	return errors.Join(err, failed)
}
