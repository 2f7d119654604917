package supervise

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A witness is an idle process in this one's group. What is sent to the whole group reaches it too,
// what is sent to this process alone doesn't, and a receiver can't see the difference. All signals
// are blocked in it; it takes one after the other, and counts them. It is a child that wait(2) doesn't
// see (its end sends no signal), holds no file open, and is killed with this process. Its methods are
// for one goroutine.
type witness struct {
	*aside
	pid int
	// taken is how many of each signal were this process's, too.
	taken [kernelSignals + 1]uint32
	// seen is what was counted at the last look.
	seen [kernelSignals + 1]uint32
}

// newWitness returns nil where there can be none: then it is guessed for whom a signal was.
func newWitness() *witness {
	if !ownStacks {
		return nil
	}
	a, err := newAside(nil)
	if err != nil {
		return nil
	}
	// It has memory of its own, and so no command line: what is sent to kapi by that (pkill -f) must
	// reach kapi alone. But of this process's memory it gets next to nothing: a copy costs time, and
	// later memory.
	runtime.LockOSThread() // apart knows of this one
	defer runtime.UnlockOSThread()
	apart := a.apart()
	advise(apart, unix.MADV_DONTFORK)
	pid, err := forked(func() int { return spawn(0, a.stack) }, new(unix.Sigset_t))
	advise(apart, unix.MADV_DOFORK)
	if err != nil {
		a.free()
		return nil
	}
	return &witness{aside: a, pid: pid}
}

// A span is a range of memory, from its first byte to behind its last.
type span struct{ from, to uintptr }

// apart returns the memory that a witness has no use for: all but a itself, the program's code, and
// where the C library has asked the kernel to write to on behalf of the calling thread (rseq(2)).
func (a *aside) apart() (all []span) {
	page := uintptr(os.Getpagesize())
	code, thread := reflect.ValueOf(newWitness).Pointer(), threadPointer()
	const program, around = 256 << 20, 64 << 10 // more than they take
	keep := []span{
		{code - min(program, code), code + program},
		{thread - min(around, thread), thread + around},
		{uintptr(unsafe.Pointer(a)), uintptr(unsafe.Pointer(a)) + unsafe.Sizeof(*a)},
	}
	slices.SortFunc(keep, func(x, y span) int { return cmp.Compare(x.from, y.from) })
	last := uintptr(0)
	for _, s := range append(keep, span{from: ^uintptr(0)}) {
		from, to := (last+page-1)&^(page-1), s.from&^(page-1)
		if from < to {
			all = append(all, span{from, to})
		}
		last = max(last, s.to)
	}
	return all
}

// advise tells the kernel of memory. Not all of it is there, which the kernel says, too.
func advise(all []span, advice uintptr) {
	for _, s := range all {
		_, _, _ = syscall.Syscall(unix.SYS_MADVISE, s.from, s.to-s.from, advice)
	}
}

// watch is the witness's life.
//
//go:norace
//go:nocheckptr
//go:nosplit
func (a *aside) watch() {
	a.become()
	for {
		sig, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGTIMEDWAIT, uintptr(unsafe.Pointer(&a.set)), 0, 0, 8, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			rawExit(1)
		case sig < uintptr(len(a.counts)):
			a.counts[sig]++
		}
	}
}

// close ends the witness.
func (w *witness) close() {
	if w == nil {
		return
	}
	_ = unix.Kill(w.pid, unix.SIGKILL)
	reapOne(w.pid)
	w.free()
}

// hear says to whom a signal was sent that this process got at a time.
func (w *witness) hear(sig syscall.Signal, at time.Time) audience {
	if w == nil || gone(w.pid) {
		return guess(sig)
	}
	counted := atomic.LoadUint32(&w.counts[sig])
	if int32(counted-w.taken[sig]) > 0 {
		w.taken[sig]++
		return everybody
	}
	if time.Since(at) < patience {
		return unclear
	}
	// On a machine that is overloaded, or if it is stopped, it may not have come to take it yet. More
	// than one of a kind don't wait.
	if waiting, ok := w.waiting(); ok && waiting>>(sig-1)&1 == 1 {
		w.taken[sig] = counted + 1
		return everybody
	}
	return oneself
}

// settle is called when nothing was received for a while. What was counted and is not this process's
// by the second time will never be: two that were sent at once may have become one here, and not there.
// It says whether that was the second time.
func (w *witness) settle(second bool) {
	if w == nil {
		return
	}
	if !second {
		for sig := range w.seen {
			w.seen[sig] = atomic.LoadUint32(&w.counts[sig])
		}
		return
	}
	waiting, _ := w.waiting()
	for sig := 1; sig <= kernelSignals; sig++ {
		counted := atomic.LoadUint32(&w.counts[sig])
		switch {
		case int32(w.seen[sig]-w.taken[sig]) > 0:
			w.taken[sig] = w.seen[sig]
		case int32(w.taken[sig]-counted) > 0 && waiting>>(sig-1)&1 == 0: // the kernel has dropped it
			w.taken[sig] = counted
		}
	}
}

// forget is for signals that have become void.
func (w *witness) forget(all ...syscall.Signal) {
	if w == nil {
		return
	}
	for _, sig := range all {
		w.taken[sig] = atomic.LoadUint32(&w.counts[sig])
	}
}

// waiting returns the signals that it has been sent and has not taken.
func (w *witness) waiting() (set uint64, ok bool) { return signalSet(w.pid, "ShdPnd") }

// signalSet returns a set of signals that the kernel shows of a process, the first in the lowest bit.
func signalSet(pid int, name string) (set uint64, ok bool) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, false
	}
	set, err = strconv.ParseUint(statusLine(status, name), 16, 64)
	return set, err == nil
}

// statusLine returns what proc_pid_status(5) has behind a name.
func statusLine(status []byte, name string) string {
	_, rest, _ := bytes.Cut(append([]byte("\n"), status...), []byte("\n"+name+":"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return string(bytes.TrimSpace(line))
}

// besides tells a process that a kapi has beside its command: by its name, and because its end sends
// no signal (a witness), or all signals are blocked in it that can be (an adopter; the kernel shows
// none as blocked of a witness that waits for them).
func (p *procs) besides(of process) bool {
	const (
		all       = ^uint64(0) &^ (1<<(unix.SIGKILL-1) | 1<<(unix.SIGSTOP-1))
		endSignal = 35 // in stat.fields
	)
	if of.name != asideName {
		return false
	}
	status, err := p.read(of.pid, "status")
	if err != nil {
		return false
	}
	if blocked, err := strconv.ParseUint(statusLine(status, "SigBlk"), 16, 64); err == nil && blocked == all {
		return true
	}
	s := p.stat(of.pid)
	return len(s.fields) > endSignal && s.number(endSignal) == 0
}
