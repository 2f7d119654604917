// Package supervise runs one command as a child process and stays with it
// until everything that the command started has ended:
//
//   - [Look] finds the program, so that a wrong name fails before anything is recorded;
//   - [Catch] takes over this process's signals, so that none is lost before the
//     child starts;
//   - [Environ] makes the child's environment;
//   - [Start] starts the child, [Tree.Wait] waits for all of it, [Tree.Stop]
//     asks it to end and kills it after a grace period;
//   - [Result] says how it ended, for people and as an exit code.
//
// The child has this process's own standard input, and stays in its process
// group and session, so that a terminal's Ctrl-C and Ctrl-Z reach it as if kapi
// were not there. Its output is scanned and passed on byte for byte, through a
// pseudo-terminal if it goes to a terminal, otherwise through a pipe.
//
// On Linux "everything that the command started" is exact: this process, or an
// adopter, is the reaper of all its descendants, including daemons. Elsewhere it
// means the command itself and any process that holds its output open. A process may
// supervise one tree at a time, and must not start other children meanwhile.
package supervise

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kettubot/kapi/internal/fault"
	"github.com/kettubot/kapi/internal/progress"
)

// Grace is the default of Command.Grace.
const Grace = 10 * time.Second

// again is the interval at which killing is repeated, for processes started meanwhile.
const again = 50 * time.Millisecond

// A Command says what to run.
type Command struct {
	// Path is the program's file, as returned by Look.
	Path string
	// Args are the name as the user gave it, followed by the arguments.
	Args []string
	// Env is the complete environment (see Environ).
	Env []string
	// Action is the id in Env's KAPI_ACTION. It tells this tree's processes from those of a nested kapi
	// run, which stops its own.
	Action string
	// Stdout and Stderr receive the tree's standard output and error, byte for byte and at once. If
	// both are the same file, the order of what is written is kept. If one is nil, that output isn't
	// scanned, and the command inherits this process's own.
	Stdout, Stderr *os.File
	// Keep, unless nil, is a file that the command inherits, and so do the processes that it starts. Each has
	// it open until it closes the file or ends. Its descriptor is 200 or higher, lower if the limit of open
	// files is low, and always above those of sockets that a service manager passes on. If there is no such
	// number, the command doesn't get the file. Linux only.
	Keep *os.File
	// TTY says whether the command writes to pseudo-terminals or pipes.
	TTY TTY
	// Line and Terminal, unless nil, are called with what the output says (see progress.Scanner);
	// Coverage selects which lines. They are called from several goroutines, possibly at the same time.
	Line     func([]byte)
	Terminal func(progress.TerminalProgress)
	Coverage progress.Coverage
	// Warn, unless nil, is called with problems that don't stop the command: no pseudo-terminal was
	// available, a process can't be signalled. It must not block.
	Warn func(error)
	// Left, unless nil, is called when the command itself has ended while processes that it started
	// still run. It gets how the command ended and those processes by ascending pid. It is first
	// called up to a second later, and again when they change, at most once a second. Linux only.
	Left func(Result, []Process)
	// Faults catches panics of the goroutines that look after the tree. Only that goroutine's work is
	// lost; the tree continues. If nil, a panic ends this process.
	Faults *fault.Net
	// Signals are passed on to the command; nil for none.
	Signals *Signals
	// Quiesce calls f at a moment when this process may be stopped (Ctrl-Z) without blocking others. If
	// nil, f is called at once.
	Quiesce func(f func())
	// Record, unless nil, is called with the pid of the command's process before that executes the
	// command: if this process ends meanwhile, the command is never run. On systems other than Linux
	// the command already runs by then.
	Record func(pid int)
	// Grace is how long after Stop the tree is killed; 0 means 10 seconds, negative means at once.
	Grace time.Duration
}

// A Tree is a command that was started, with all processes that it started in turn. Its methods may be
// called concurrently.
type Tree struct {
	child   *child
	output  *output
	signals *Signals
	quiesce func(func())
	grace   time.Duration
	left    func(Result, []Process)
	faults  *fault.Net

	stop    sync.Once
	stopped chan struct{} // closed by Stop
	gone    chan struct{} // closed when no process is left
	done    chan struct{} // closed when all of the output has been read, too
	written chan struct{} // closed when all of it has been passed on, too
	result  Result        // valid once done is closed
}

// A Process is a process that a command left running.
type Process struct {
	PID int
	// Name is the kernel's short name, at most 15 bytes; "" if it isn't visible.
	Name string
}

// String returns for example "4711 (sshd)".
func (p Process) String() string {
	if p.Name == "" {
		return strconv.Itoa(p.PID)
	}
	return fmt.Sprintf("%d (%s)", p.PID, p.Name)
}

// Start starts the command. Any error is an *ExecError, and nothing was started then.
func Start(c Command) (*Tree, error) {
	output, err := openOutput(c)
	if err != nil {
		return nil, execError(c, err)
	}
	child, err := startChild(c, output.file(0), output.file(1))
	output.closeOwn()
	if err != nil {
		output.abandon()
		return nil, execError(c, err)
	}
	t := &Tree{
		child:   child,
		output:  output,
		signals: c.Signals,
		quiesce: c.Quiesce,
		grace:   c.Grace,
		left:    c.Left,
		faults:  c.Faults,
		stopped: make(chan struct{}),
		gone:    make(chan struct{}),
		done:    make(chan struct{}),
		written: make(chan struct{}),
	}
	if t.quiesce == nil {
		t.quiesce = func(f func()) { f() }
	}
	if t.grace == 0 {
		t.grace = Grace
	}
	go t.live()
	return t, nil
}

// byShell returns a command that runs c's file with /bin/sh. It is for a file whose format the kernel
// doesn't recognise, most likely a script without an interpreter line. Shells, env and anything else
// that uses execvp(3) do the same; if the file is something else, sh says so.
func (c Command) byShell() Command {
	const shell = "/bin/sh"
	file := c.Path
	if strings.HasPrefix(file, "-") {
		file = "./" + file // so that sh doesn't take it for an option
	}
	c.Args = append([]string{shell, file}, c.Args[1:]...)
	c.Path = shell
	return c
}

// live runs the tree to its end.
func (t *Tree) live() {
	defer close(t.written)
	over := sync.OnceFunc(func() { close(t.done) })
	if p := t.faults.Try(func() { t.run(over) }); p != nil {
		var unknown syscall.WaitStatus
		t.result = newResult(unknown, p, "")
		over()
	}
}

// run owns all of the tree's goroutines. It calls over once the result is known.
func (t *Tree) run(over func()) {
	var copying, wg sync.WaitGroup
	defer copying.Wait()
	for _, c := range t.output.copiers {
		copying.Go(func() {
			defer close(c.written)
			t.faults.Keep(c.run)
		})
	}
	t.faults.Go(&wg, t.passSignals)
	t.faults.Go(&wg, t.end)
	t.faults.Go(&wg, t.notifyLeft)
	t.faults.Go(&wg, func() { t.output.mirror(t.gone) })
	var status syscall.WaitStatus
	var err error
	t.faults.Keep(func() { status, err = t.child.wait() })
	close(t.gone)
	for _, c := range t.output.copiers {
		c.finish()
	}
	wg.Wait()
	copying.Go(t.child.release) // nobody needs to wait for it
	// Release the terminals before the rest is passed on, as Ctrl-C must be able to end that wait.
	t.output.release()
	for _, c := range t.output.copiers {
		<-c.settled()
	}
	t.result = newResult(status, err, t.output.last.String())
	t.result.Lost = t.output.loss()
	over()
}

// Wait returns when no process of the tree is left and all of their output has been read. Passing it on
// may take longer if a reader is slow or doesn't read at all (see Written).
func (t *Tree) Wait() Result {
	<-t.done
	return t.result
}

// Written returns a channel that is closed some time after Wait has returned, when all output has been
// passed on or its reader is gone. This process should not exit before that without good reason.
func (t *Tree) Written() <-chan struct{} { return t.written }

// Lost returns why output could not be passed on, like Result.Lost. It may be set later than that, as a
// socket may break after Wait has returned. Call it when Written is closed.
func (t *Tree) Lost() error { return t.output.loss() }

// Stop asks every process of the tree to end (SIGTERM), and kills those left after the grace period. It
// returns at once.
func (t *Tree) Stop() { t.stop.Do(func() { close(t.stopped) }) }

func (t *Tree) end() {
	select {
	case <-t.stopped:
	case <-t.gone:
		return
	}
	t.child.terminate()
	grace := time.NewTimer(t.grace)
	defer grace.Stop()
	select {
	case <-grace.C:
	case <-t.gone:
		return
	}
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		t.child.kill()
		select {
		case <-tick.C:
		case <-t.gone:
			return
		}
	}
}

// waiting returns the signals that are queued in c.
func waiting(c <-chan os.Signal) (all []os.Signal) {
	for {
		select {
		case sig := <-c:
			all = append(all, sig)
		default:
			return all
		}
	}
}
