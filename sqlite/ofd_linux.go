package sqlite

import (
	"errors"
	"math/rand/v2"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A span is where the locks of a queue are in the wake file, far beyond its content. The lock of the turn extends down
// from turn, and that of the door up from turn+1. Each holder locks a random length, so that others can see when the
// holder changes.
type span struct {
	turn    int64
	longest int64
}

// queues is whether the kernel keeps queues.
const queues = true

// turnSpan is that of the turn to write.
var turnSpan = span{1 << 40, 1 << 39}

// gateSpan is that of a gate (see gates.go).
func gateSpan(number int) span { return span{1<<42 + int64(number)<<20, 1 << 18} }

func (s span) door() int64 { return s.turn + 1 }

func (s span) length() int64 { return 1 + rand.Int64N(s.longest) }

// A places holds the two locks of a queue through one descriptor of the wake file. They are open file
// description locks (fcntl(2)): they stay when another descriptor of the file is closed, two stores in one
// process exclude each other, and the kernel releases them when the process ends.
type places struct {
	// quick is for calls that return at once, slow for calls that wait. Each may be used by one goroutine
	// at a time.
	quick, slow *locking
	span
}

// openPlaces returns nil if the file can't be locked.
func openPlaces(f *os.File) *places {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil
	}
	return &places{newLocking(raw), newLocking(raw), turnSpan}
}

// take takes the turn if it is free and nobody is at the door. Otherwise it returns errTaken.
func (p *places) take() error {
	down, up := p.length(), p.length()
	err := p.quick.do(unix.F_OFD_SETLK, unix.F_WRLCK, p.turn-down, down+1+up)
	if err == nil {
		if err = p.quick.do(unix.F_OFD_SETLK, unix.F_UNLCK, p.door(), up); err != nil {
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
	down, up := p.length(), p.length()
	err := p.slow.do(unix.F_OFD_SETLKW, unix.F_WRLCK, p.door(), up)
	if err == nil {
		next()
		err = p.slow.do(unix.F_OFD_SETLKW, unix.F_WRLCK, p.turn-down, down+1)
	}
	if err == nil {
		err = p.slow.do(unix.F_OFD_SETLK, unix.F_UNLCK, p.door(), up)
	}
	if err != nil {
		p.slow.release(p.span)
	}
	return err
}

// free releases both locks.
func (p *places) free() { p.quick.release(p.span) }

// step releases the door alone, while stand waits for the turn.
func (p *places) step() { _ = p.quick.do(unix.F_OFD_SETLK, unix.F_UNLCK, p.door(), p.longest) }

// who returns random numbers that identify the holders of the turn and of the door, 0 if it is free. This descriptor's
// own locks don't count.
func (p *places) who() (turn, door int64, err error) {
	l := p.quick
	if err = l.do(unix.F_OFD_GETLK, unix.F_WRLCK, p.turn, 1); err == nil && l.lock.Type != unix.F_UNLCK {
		turn = p.turn - l.lock.Start + 1
	}
	if err == nil {
		err = l.do(unix.F_OFD_GETLK, unix.F_WRLCK, p.door(), 1)
	}
	if err == nil && l.lock.Type != unix.F_UNLCK {
		door = l.lock.Len
	}
	return turn, door, err
}

// release releases both locks, and no others: the keeper's locks are held through the same descriptor.
func (l *locking) release(s span) {
	_ = l.do(unix.F_OFD_SETLK, unix.F_UNLCK, s.turn-s.longest, 2*s.longest+1)
}

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
