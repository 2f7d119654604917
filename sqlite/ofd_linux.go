package sqlite

import (
	"errors"
	"math/rand/v2"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// The offsets of the queue's locks in the wake file, far beyond its content. The lock of the turn extends
// down from turnAt, and that of the door up from doorAt. Each holder locks a random length, so that others
// can see when the holder changes.
const (
	turnAt  = 1 << 40
	doorAt  = turnAt + 1
	longest = 1 << 39
)

// A places holds the two locks of the queue through one descriptor of the wake file. They are open file
// description locks (fcntl(2)): they stay when another descriptor of the file is closed, two stores in one
// process exclude each other, and the kernel releases them when the process ends.
type places struct {
	// quick is for calls that return at once, slow for calls that wait. Each may be used by one goroutine
	// at a time.
	quick, slow *locking
}

// openPlaces returns nil if the file can't be locked.
func openPlaces(f *os.File) *places {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil
	}
	return &places{newLocking(raw), newLocking(raw)}
}

// take takes the turn if it is free and nobody is at the door. Otherwise it returns errTaken.
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

// stand waits for the door, calls next, waits for the turn, and then frees the door.
func (p *places) stand(next func()) error {
	down, up := length(), length()
	err := p.slow.do(unix.F_OFD_SETLKW, unix.F_WRLCK, doorAt, up)
	if err == nil {
		next()
		err = p.slow.do(unix.F_OFD_SETLKW, unix.F_WRLCK, turnAt-down, down+1)
	}
	if err == nil {
		err = p.slow.do(unix.F_OFD_SETLK, unix.F_UNLCK, doorAt, up)
	}
	if err != nil {
		p.slow.release()
	}
	return err
}

// free releases both locks.
func (p *places) free() { p.quick.release() }

// step releases the door alone, while stand waits for the turn.
func (p *places) step() { _ = p.quick.do(unix.F_OFD_SETLK, unix.F_UNLCK, doorAt, longest) }

// who returns random numbers that identify the holders of the turn and of the door, 0 if it is free. This descriptor's
// own locks don't count.
func (p *places) who() (turn, door int64, err error) {
	l := p.quick
	if err = l.do(unix.F_OFD_GETLK, unix.F_WRLCK, turnAt, 1); err == nil && l.lock.Type != unix.F_UNLCK {
		turn = turnAt - l.lock.Start + 1
	}
	if err == nil {
		err = l.do(unix.F_OFD_GETLK, unix.F_WRLCK, doorAt, 1)
	}
	if err == nil && l.lock.Type != unix.F_UNLCK {
		door = l.lock.Len
	}
	return turn, door, err
}

// release releases both locks, and no others: the keeper's locks are held through the same descriptor.
func (l *locking) release() {
	_ = l.do(unix.F_OFD_SETLK, unix.F_UNLCK, turnAt-longest, 2*longest+1)
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
