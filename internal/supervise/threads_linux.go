package supervise

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Where a thread can't be made, Go's runtime ends the process, and nothing can be done about it: the
// command uses up what its user may have (ulimit -u, a control group's pids.max), and the next time
// two of kapi's goroutines wait in the kernel at once, kapi is gone. So the threads are made before
// the command is started; the runtime keeps those that have nothing to do.

const (
	// processors is how many threads run Go at once, at most. Nothing that kapi run does takes more,
	// and each would need a thread of its own.
	processors = 2
	// blocked is how many of kapi run's goroutines may be in the kernel at once: those of the engine
	// (commits, its lease, the feed, wake-ups, the sweeper), of the tree (waiting, two copiers,
	// signals, its end, modes of a terminal, what is left), and those that start, speak on standard
	// error and receive signals; and the runtime's own two.
	blocked = 17
)

// Reserve begins to make the threads that this process may need while it supervises a command; name
// is the command's. The function that it returns waits until they are there. Its error is an
// *ExecError with the code 126: there are not so many to be had. Reserve is called once, and the
// command is started behind it.
func Reserve(name string) (wait func() error) {
	runtime.GOMAXPROCS(min(runtime.GOMAXPROCS(0), processors))
	done := make(chan error, 1)
	go func() { done <- reserve(processors + blocked) }()
	return func() error {
		err := <-done
		if err == nil {
			return nil
		}
		return &ExecError{Name: name, Code: codeNotExecutable, Err: fmt.Errorf(
			"there are no %d threads to be had for kapi beside it (ulimit -u, or the limit of a control group): %w",
			processors+blocked, err)}
	}
}

func reserve(threads int) error {
	if err := provable(threads); err != nil {
		return err
	}
	// A goroutine that is locked to its thread keeps that while it waits.
	var made, all sync.WaitGroup
	made.Add(threads)
	for range threads {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			made.Done()
			made.Wait()
		})
	}
	all.Wait()
	return nil
}

// provable makes as many processes at once as there are to be threads, to the kernel all the same,
// and ends them. If the runtime tried, a failure would be the end.
func provable(threads int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// A signal must not be handled in them: they share our memory.
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before); err != nil {
		return fmt.Errorf("block signals: %w", err)
	}
	errno := nest(uintptr(threads))
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil); err != nil {
		return fmt.Errorf("unblock signals: %w", err)
	}
	if errno == 0 || errors.Is(syscall.Errno(errno), unix.ENOSYS) {
		return nil
	}
	return syscall.Errno(errno)
}
