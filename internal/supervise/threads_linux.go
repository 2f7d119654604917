package supervise

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// When Go's runtime can't create a thread, it ends the process, and nothing can be done about that. A
// command may use up its user's limit (ulimit -u, a control group's pids.max), and kapi would die the
// next time one more of its goroutines blocks in the kernel. So the threads are created before the
// command is started; the runtime keeps idle ones.

const (
	// processors is the most threads that run Go code at once. Nothing in kapi run needs more. Each would take one more
	// thread, and with more than one, each wake-up wakes others for nothing, which a crowd feels.
	processors = 1
	// blocked is how many of kapi run's goroutines may be in the kernel at once: those of the engine
	// (commits, its turn to write, the gate where it opens the store, its lease, the feed, wake-ups, the sweeper), of
	// the tree (waiting, two copiers, signals, the end, terminal modes, remaining processes), and those that start the
	// command, write to standard error and receive signals; plus two of the runtime's own.
	blocked = 19
)

// Reserve begins to create the threads that this process may need while it supervises the command
// called name. The returned function waits until they exist. Its error is an *ExecError with code 126,
// if the system doesn't allow that many. Call Reserve once, before the command is started.
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
			"kapi can't create the %d threads that it needs to supervise the command (raise ulimit -u, or the limit of the control group): %w",
			processors+blocked, err)}
	}
}

func reserve(threads int) error {
	if err := provable(threads); err != nil {
		return err
	}
	// A goroutine that is locked to its thread keeps the thread while it waits.
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

// provable returns an error if that many threads can't be created. The runtime must not be the first to try,
// because this process would end if it failed. So provable creates that many processes at once, which count
// the same for the kernel's limits, and ends them.
func provable(threads int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// No signal may be handled in them, as they share our memory.
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
