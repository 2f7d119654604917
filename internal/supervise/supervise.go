// Package supervise runs one command as a child process and stays with it
// until everything that the command started has ended:
//
//   - [Look] finds the program, before anything is promised to anybody;
//   - [Catch] takes over this process's signals, so that none is lost between
//     then and the start of the child;
//   - [Environ] makes the child's environment;
//   - [Start] starts the child, [Tree.Wait] waits for all of it, [Tree.Stop]
//     asks it to end and, after a grace period, makes it end;
//   - [Result] says how it ended, for people and as an exit code.
//
// The child has this process's standard input itself, and stays in its process
// group and session, so that a terminal's Ctrl-C and Ctrl-Z reach it as if kapi
// were not there. Its output is looked at on the way, and passed on byte for byte:
// through a pseudo-terminal where it goes to a terminal, else through a pipe.
//
// On Linux "everything that the command started" is exact: this process, or an adopter, is the
// reaper of all its descendants, daemons included. Elsewhere it is the command
// itself and whoever holds its output open. A process may supervise one
// tree, and must not start other children meanwhile.
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

// Grace is how long a tree that is asked to stop may take by default.
const Grace = 10 * time.Second

// again is how often the killing is repeated for processes that were started
// while it went on.
const again = 50 * time.Millisecond

// A Command says what to run.
type Command struct {
	// Path is the program's file, as Look returned it.
	Path string
	// Args are the name as the user gave it, and the arguments.
	Args []string
	// Env is the whole environment (see Environ).
	Env []string
	// Action is the id that Env has in KAPI_ACTION. It tells the processes of this
	// tree from those of a kapi run nested in it, which stops its own.
	Action string
	// Stdout and Stderr get what the tree writes to its standard output and error, byte
	// for byte and at once; if both are one file, they stay one. A nil one is not looked
	// at: the command has this process's own.
	Stdout, Stderr *os.File
	// TTY says whether they are pseudo-terminals or pipes.
	TTY TTY
	// Line and Terminal, unless nil, are told what is in the output (see
	// progress.Scanner), Coverage says of which lines. They are called from several
	// goroutines.
	Line     func([]byte)
	Terminal func(progress.TerminalProgress)
	Coverage progress.Coverage
	// Warn, unless nil, is told what can't be done for the command that goes on all the same: there is
	// no pseudo-terminal to be had, a process that is to end can't be signalled. It must not wait for
	// anything.
	Warn func(error)
	// Left, unless nil, is told how the command itself has ended while something that it started
	// goes on, and which processes that are, by ascending pid: a second later for the first time,
	// and then whenever others are left, once a second at most. Known on Linux only.
	Left func(Result, []Process)
	// Faults catches the panics of the goroutines that look after the tree. What they panic over is
	// lost; the tree goes on. Nil: they end this process.
	Faults *fault.Net
	// Signals are passed on to the child. Nil: none are.
	Signals *Signals
	// Quiesce calls f at a moment when this process may be stopped (Ctrl-Z) without
	// being in anybody's way. Nil: any moment is fine.
	Quiesce func(f func())
	// Record, unless nil, is told the pid of the command's process, before that executes the command:
	// if this process ends meanwhile, the command is not run. (On systems other than Linux it is
	// running by then.)
	Record func(pid int)
	// Grace is how long after Stop the tree is killed; 0 is 10 seconds, negative is off: at once.
	Grace time.Duration
}

// A Tree is a command that was started, and all that it started in turn. Its
// methods may be called concurrently.
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
	done    chan struct{} // closed when all of the output was read, too
	written chan struct{} // closed when all of it was passed on, too
	result  Result        // to be read after done
}

// A Process is one that a command has left running.
type Process struct {
	PID int
	// Name is the kernel's short one, at most 15 bytes; "" if it doesn't show it.
	Name string
}

// String is like "4711 (sshd)".
func (p Process) String() string {
	if p.Name == "" {
		return strconv.Itoa(p.PID)
	}
	return fmt.Sprintf("%d (%s)", p.PID, p.Name)
}

// Start starts the command. The error is an *ExecError, also where the system is out of something
// that it takes: then nothing was started.
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

// byShell is a command whose file the kernel doesn't know how to execute: most likely a script
// that names no interpreter. Shells, env and whatever else uses execvp(3) hand such a file to sh,
// which says so if it is something else.
func (c Command) byShell() Command {
	const shell = "/bin/sh"
	file := c.Path
	if strings.HasPrefix(file, "-") {
		file = "./" + file // no option
	}
	c.Args = append([]string{shell, file}, c.Args[1:]...)
	c.Path = shell
	return c
}

// live is the tree's life.
func (t *Tree) live() {
	defer close(t.written)
	over := sync.OnceFunc(func() { close(t.done) })
	if p := t.faults.Try(func() { t.run(over) }); p != nil {
		var unknown syscall.WaitStatus
		t.result = newResult(unknown, p, "")
		over()
	}
}

// run owns all of the tree's goroutines. It calls over when the result is there.
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
	copying.Go(t.child.release) // nobody needs to wait for that
	// Before what is left is passed on: a Ctrl-C must be able to end the waiting for that.
	t.output.release()
	for _, c := range t.output.copiers {
		<-c.settled()
	}
	t.result = newResult(status, err, t.output.last.String())
	t.result.Lost = t.output.loss()
	over()
}

// Wait returns when no process of the tree is left and all that they wrote to
// their output was read. Passing that on may take longer, where a reader of ours is slow or
// doesn't read at all (see Written).
func (t *Tree) Wait() Result {
	<-t.done
	return t.result
}

// Written is closed some time after Wait has returned, when all output was passed on, or nobody
// is there any more to take it. This process must not end before, but for good reason.
func (t *Tree) Written() <-chan struct{} { return t.written }

// Lost says, when Written is closed, why output could not be passed on, as Result.Lost does: a
// socket may break after Wait has returned.
func (t *Tree) Lost() error { return t.output.loss() }

// Stop asks every process of the tree to end (SIGTERM) and kills after the
// grace period what is left. It returns at once.
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

// waiting returns the signals that have come and were not taken yet.
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
