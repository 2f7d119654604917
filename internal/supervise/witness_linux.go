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

// A witness is an idle process in this one's group. A signal sent to the whole group reaches it too,
// one sent to this process alone doesn't; the receiver couldn't tell the two apart. It has all signals
// blocked, takes them one by one, and counts them. It is a child that wait(2) doesn't report (its end
// sends no signal), has no file open, and is killed with this process. Its methods are for one
// goroutine.
type witness struct {
	*aside
	pid int
	// taken is how many of each signal have been matched with one that this process received.
	taken [kernelSignals + 1]uint32
	// seen is the count of each signal at the last settle(false).
	seen [kernelSignals + 1]uint32
}

// newWitness returns nil where a witness is not possible: hear then guesses.
func newWitness() *witness {
	if !ownStacks {
		return nil
	}
	a, err := newAside(nil)
	if err != nil {
		return nil
	}
	// It has memory of its own, and so no command line: signals sent by command line (pkill -f) must
	// reach kapi alone. It gets a copy of almost none of this process's memory, as copying costs time
	// now and memory later.
	runtime.LockOSThread() // apart needs the address of this thread
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

// A span is a memory range: from is its first byte, to is past its last.
type span struct{ from, to uintptr }

// apart returns all memory that the witness doesn't need: all except a itself, the program's code, and
// where the C library has asked the kernel to write for the calling thread (rseq(2)).
func (a *aside) apart() (all []span) {
	page := uintptr(os.Getpagesize())
	code, thread := reflect.ValueOf(newWitness).Pointer(), threadPointer()
	const program, around = 256 << 20, 64 << 10 // generous upper bounds
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

// advise calls madvise on the ranges. It ignores the error for ranges that are not fully mapped.
func advise(all []span, advice uintptr) {
	for _, s := range all {
		_, _, _ = syscall.Syscall(unix.SYS_MADVISE, s.from, s.to-s.from, advice)
	}
}

// watch is the witness's main loop.
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

// hear returns the audience of a signal that this process received at the given time.
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
	// If the machine is overloaded or the witness is stopped, the signal may still be pending there. At
	// most one of a kind is.
	if waiting, ok := w.waiting(); ok && waiting>>(sig-1)&1 == 1 {
		w.taken[sig] = counted + 1
		return everybody
	}
	return oneself
}

// settle is called twice after the last signal, once signals have stopped arriving. The first call notes what
// the witness has counted. What is not matched by the second call never will be: two signals that were sent
// together may have merged here but not in the witness. second says which call it is.
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
		case int32(w.taken[sig]-counted) > 0 && waiting>>(sig-1)&1 == 0: // the kernel dropped it
			w.taken[sig] = counted
		}
	}
}

// forget discards the counts of signals that were cancelled.
func (w *witness) forget(all ...syscall.Signal) {
	if w == nil {
		return
	}
	for _, sig := range all {
		w.taken[sig] = atomic.LoadUint32(&w.counts[sig])
	}
}

// waiting returns the signals that are pending in the witness.
func (w *witness) waiting() (set uint64, ok bool) { return signalSet(w.pid, "ShdPnd") }

// signalSet returns a signal set from a process's status; bit 0 is signal 1.
func signalSet(pid int, name string) (set uint64, ok bool) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, false
	}
	set, err = strconv.ParseUint(statusLine(status, name), 16, 64)
	return set, err == nil
}

// statusLine returns the value behind a name in proc_pid_status(5).
func statusLine(status []byte, name string) string {
	_, rest, _ := bytes.Cut(append([]byte("\n"), status...), []byte("\n"+name+":"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return string(bytes.TrimSpace(line))
}

// besides says whether a process is a helper process that a kapi runs beside its command. Both kinds have
// the same name. In addition, a witness has an end that sends no signal, and an adopter has all signals
// blocked. (For a witness that waits in sigwait, the kernel shows no signal as blocked.)
func (p *procs) besides(of process) bool {
	const (
		all       = ^uint64(0) &^ (1<<(unix.SIGKILL-1) | 1<<(unix.SIGSTOP-1))
		endSignal = 35 // index in stat.fields
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
