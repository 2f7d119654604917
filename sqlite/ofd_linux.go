package sqlite

import (
	"errors"
	"math/rand/v2"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Where the locks of the queue lie in the wake file, far behind what is in it. The turn reaches down from its byte,
// the door up from the next, each for a length by chance: that tells one holder from the next.
const (
	turnAt  = 1 << 40
	doorAt  = turnAt + 1
	longest = 1 << 39
)

// A places holds the two locks of the queue by one descriptor of the wake file. They are its open file
// description's (fcntl(2), "Open file description locks"): other descriptors of the file may be closed, two
// stores of one process are two, and they go with the process.
type places struct {
	// quick is for calls that return at once, slow for those that wait: each for one goroutine at a time.
	quick, slow *locking
}

// openPlaces returns nil where there can't be any.
func openPlaces(f *os.File) *places {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil
	}
	return &places{newLocking(raw), newLocking(raw)}
}

// take takes the turn if it is free, and nobody stands at the door. The error is errTaken if not.
func (p *places) take() error {
	down, up := length(), length()
	err := p.quick.do(unix.F_OFD_SETLK, unix.F_WRLCK, turnAt-down, down+1+up)
	if err == nil {
		if err = p.quick.do(unix.F_OFD_SETLK, unix.F_UNLCK, doorAt, up); err != nil {
			p.free()
		}
	}
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return errTaken
	}
	return err
}

// stand waits until it is at the door, there until it has the turn, and leaves the door to the next.
func (p *places) stand() error {
	down, up := length(), length()
	err := p.slow.do(unix.F_OFD_SETLKW, unix.F_WRLCK, doorAt, up)
	if err == nil {
		err = p.slow.do(unix.F_OFD_SETLKW, unix.F_WRLCK, turnAt-down, down+1)
	}
	if err == nil {
		err = p.slow.do(unix.F_OFD_SETLK, unix.F_UNLCK, doorAt, up)
	}
	if err != nil {
		_ = p.slow.do(unix.F_OFD_SETLK, unix.F_UNLCK, 0, 0)
	}
	return err
}

// free gives both back.
func (p *places) free() { _ = p.quick.do(unix.F_OFD_SETLK, unix.F_UNLCK, 0, 0) }

// who tells who has the turn, other than this descriptor, or if nobody has, who stands at the door: by a
// number that nobody else will have. It is 0 if both are free.
func (p *places) who() (int64, error) {
	l := p.quick
	if err := l.do(unix.F_OFD_GETLK, unix.F_WRLCK, turnAt, 1); err != nil || l.lock.Type != unix.F_UNLCK {
		return turnAt - l.lock.Start, err
	}
	if err := l.do(unix.F_OFD_GETLK, unix.F_WRLCK, doorAt, 1); err != nil || l.lock.Type != unix.F_UNLCK {
		return -l.lock.Len, err
	}
	return 0, nil
}

func length() int64 { return 1 + rand.Int64N(longest) }

// A locking makes calls of fcntl(2), one at a time, without allocating.
type locking struct {
	raw  syscall.RawConn
	call func(fd uintptr)
	cmd  int
	lock unix.Flock_t
	err  error
}

func newLocking(raw syscall.RawConn) *locking {
	l := &locking{raw: raw}
	l.call = func(fd uintptr) {
		for {
			if l.err = unix.FcntlFlock(fd, l.cmd, &l.lock); !errors.Is(l.err, unix.EINTR) {
				return
			}
		}
	}
	return l
}

func (l *locking) do(cmd int, kind int16, from, n int64) error {
	l.cmd, l.lock = cmd, unix.Flock_t{Type: kind, Start: from, Len: n}
	if err := l.raw.Control(l.call); err != nil { // it is closed
		return err
	}
	return l.err
}
