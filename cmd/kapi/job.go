package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/fault"
	"github.com/kettubot/kapi/internal/notify"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/progress"
	"github.com/kettubot/kapi/internal/supervise"
)

// A job runs one command, from before its start until after its end.
type job struct {
	*runCmd
	app     *app
	path    string
	place   place
	signals *supervise.Signals
	nonce   string // see proc.NonceVariable

	// starting ends if a signal arrives before the command is started.
	starting  context.Context
	interrupt context.CancelCauseFunc
	begun     chan struct{} // closed when signals are to go to the command
	watching  chan struct{} // closed when watch has returned

	// Written by the operation; to be read only when ended is closed or do has returned.
	ended   chan struct{}
	id      string            // "" if the action was not started
	tree    *supervise.Tree   // nil if the command was not started
	result  *supervise.Result // nil if the command was not started
	late    bool              // its time limit had passed
	stopped bool              // its action was cancelled or lost
	lost    bool              // its store was replaced, and another action holds its keys
	err     error
	haste   bool // a signal ends kapi, and nobody reads its stderr

	faults  *fault.Net
	faulty  atomic.Pointer[fault.Panic] // the first panic
	panics  atomic.Int32
	tracker atomic.Pointer[progress.Tracker] // nil until the action has begun

	tracking sync.WaitGroup
	quiesce  atomic.Pointer[func(f func())] // the place's; nil until that is open
}

// watchStart handles the signals until begin is called.
func (j *job) watchStart() {
	j.starting, j.interrupt = context.WithCancelCause(context.Background())
	j.begun, j.watching = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(j.watching)
		j.faults.Keep(j.watch)
	}()
}

func (j *job) watch() {
	for {
		select {
		case sig := <-j.signals.C():
			if number, ok := sig.(syscall.Signal); ok && ends(number) {
				j.interrupt(&interruptedError{number, " before the command was started"})
			} else if quiesce := j.quiesce.Load(); ok && quiesce != nil {
				supervise.Suspend(number, *quiesce)
			}
		case <-j.begun:
			return
		}
	}
}

// ends reports whether a signal asks a process to end.
func ends(sig syscall.Signal) bool {
	switch sig {
	case syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM:
		return true
	}
	return false
}

// begin ends watch. It returns why the command must not be started any more, nil if it may be. It must be
// called only once.
func (j *job) begin() error {
	close(j.begun)
	<-j.watching
	return context.Cause(j.starting)
}

// errNotRun guards against a bug: a command that was not run must never look like a success.
var errNotRun = errors.New("the command was not run, for an unknown reason")

// do runs the command as an action, and returns the error that kapi ends with.
func (j *job) do(spec kapi.Spec) error {
	j.nonce = proc.NewNonce()
	j.place.expect(proc.Expect(proc.MarkOf(j.nonce)))
	done := make(chan error, 1)
	go func() {
		var err error
		if p := j.faults.Try(func() { err = j.place.do(j.starting, spec, j.operate) }); p != nil {
			err = p
		}
		done <- err
	}()
	var err error
	select {
	case err = <-done:
	case <-j.ended:
		err = j.awaitRecord(done)
	}
	if j.id == "" {
		return cmp.Or(err, errNotRun)
	}
	interrupted := j.awaitOutput()
	unrecorded := without(err, j.err)
	j.warnUnrecorded(unrecorded)
	if j.result == nil {
		j.undo()
		return cmp.Or(j.err, errNotRun)
	}
	if j.err != nil && unrecorded == nil && len(spec.Keys) > 0 && !spec.ReleaseOnFailure && !j.lost {
		j.app.eprintf("the action failed and keeps its key until somebody has looked at it; to free the key: %s dismiss %s%s",
			j.app.self(), j.app.storeArgument(), j.id)
	}
	return cmp.Or(interrupted, exitWith(j.code()))
}

// retrying is called when the server has not accepted the start, and it is tried again.
func (j *job) retrying(err error, within time.Duration) {
	j.app.eprintf("the command is not started yet: %v; retrying for %v or until Ctrl-C", err, within)
}

// reporting is called when the server is lost while the command runs, and with nil when it is back.
func (j *job) reporting(id string, err error) {
	if err != nil {
		j.app.eprintf("reports on action %s can't be delivered, and are kept until they can: %v", id, err)
		return
	}
	j.app.eprintf("reports on action %s are delivered again", id)
}

// operate is the action's operation.
func (j *job) operate(ctx context.Context, h kapi.Handle) error {
	defer close(j.ended)
	j.faults.Try(func() { j.err = j.conduct(ctx, h) })
	if j.tree != nil && j.result == nil { // the command is still running, although conduct panicked
		result := j.tree.Wait()
		j.result = &result
	}
	if p := j.faulty.Load(); p != nil {
		j.err = j.blame(p)
		j.faults.Try(func() { h.SetExitCode(exitFault) })
	}
	return j.err
}

// conduct starts the command and waits until it has ended.
func (j *job) conduct(ctx context.Context, h kapi.Handle) error {
	j.id = h.ID()
	for _, a := range h.Dismissed() {
		j.app.eprintf("dismissed action %s, which had failed at %s%s", called(a), localTime(a.UpdatedAt), reason(a.State))
	}
	if err := j.begin(); err != nil {
		return err
	}
	tracker := progress.NewTracker(h, j.pattern, j.Stall)
	j.tracker.Store(tracker)
	socket, err := notify.Listen(j.faults, outerSocket(), func(datagram []byte) { tracker.Notice(progress.ParseNotice(datagram)) })
	if err != nil {
		j.app.eprintf("the command can't report its progress to $KAPI_NOTIFY: %v", err)
	}
	if socket != nil {
		defer socket.Close()
	}
	if err := supervise.Unseen(); err != nil && j.Timeout > 0 {
		j.app.eprintf("the time limit will stop only the command itself, not the processes that it starts: %v", err)
	}
	recorder := j.recorder()
	c := j.command(h, tracker, socket, recorder)
	c.Keep = j.place.lockWork()
	j.tree, err = supervise.Start(c)
	if c.Keep != nil {
		_ = c.Keep.Close() // the command has it
	}
	if err != nil {
		return err
	}
	tracking, stopTracking := context.WithCancel(context.Background())
	defer stopTracking()
	defer slim()()
	j.faults.Go(&j.tracking, func() { tracker.Run(tracking) })
	j.faults.Go(&j.tracking, func() { recorder.recordGroups(tracking) })
	result := j.awaitTree(ctx, j.tree)
	j.result = &result
	if socket != nil {
		socket.Close() // handles the last messages
	}
	stopTracking()
	tracker.Left("")
	err = withLoss(j.judge(ctx, result), result.Lost)
	h.SetExitCode(j.code())
	if err == nil {
		tracker.Completed()
	}
	return err
}

// command returns the command for supervise.Start.
func (j *job) command(h kapi.Handle, tracker *progress.Tracker, socket *notify.Socket, r *recorder) supervise.Command {
	address := ""
	if socket != nil {
		address = socket.Address()
	}
	c := supervise.Command{
		Path: j.path, Args: j.Command,
		Env:    supervise.Environ(j.app.environ(j.place, j.PassToken), j.app.ownVariables, h.ID(), h.Fence(), r.nonce, address),
		Record: r.begin,
		Action: h.ID(), Signals: j.signals, Quiesce: j.place.quiesce,
		Grace: orOff(&j.Grace),
		TTY:   j.tty(), Line: tracker.Line, Terminal: tracker.Terminal,
		Coverage: j.pattern.Coverage(),
		Warn:     func(err error) { j.app.eprintf("%v", err) },
		Left:     func(r supervise.Result, left []supervise.Process) { tracker.Left(waitsFor(r, left)) },
		Faults:   j.faults,
	}
	// A command that is left running gets no pipes: its first output after our end would kill it.
	if !j.LeaveRunning {
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
	}
	return c
}

// outerSocket returns the socket of a service manager to notify, "" if there is none. That of a kapi run
// around this one doesn't count: each reports on its own action.
func outerSocket() string {
	outer := os.Getenv(supervise.OuterVariable)
	if outer == os.Getenv(supervise.NotifyVariable) {
		return ""
	}
	return outer
}

// judge returns why the command has not done what it was started for, nil if it has.
func (j *job) judge(ctx context.Context, result supervise.Result) error {
	err := result.Err()
	switch {
	case j.late && err == nil: // asked to end, it exited with 0
		return fmt.Errorf("stopped at its time limit of %v", j.Timeout)
	case j.late:
		return fmt.Errorf("stopped at its time limit of %v: %w", j.Timeout, err)
	case err == nil && j.stopped:
		return fmt.Errorf("stopped: %w", context.Cause(ctx))
	}
	return err
}

// code returns the exit code of kapi run.
func (j *job) code() int {
	switch {
	case j.faulty.Load() != nil:
		return exitFault
	case j.late:
		return exitTimeout
	case j.result.Code == 0 && (j.stopped || j.result.Lost != nil): // must not look like a success
		return exitOther
	}
	return j.result.Code
}
