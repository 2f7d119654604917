package supervise

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The test binary plays the other processes, too: with helperVariable set, it is
// what that names.
const (
	helperVariable = "SUPERVISE_HELPER"
	graceVariable  = "SUPERVISE_GRACE"
	// outputVariable makes the standard output looked at, too: as what a TTY is.
	outputVariable = "SUPERVISE_OUTPUT"
	// recordVariable makes the pid told before the command is executed; if it is "hang", that is as far
	// as it goes.
	recordVariable = "SUPERVISE_RECORD"
	// leftVariable makes it told what the command has left.
	leftVariable = "SUPERVISE_LEFT"
	// handleOfOwn gives the helper the number of its pidfd, as a service manager does.
	handleOfOwn = "SUPERVISE_HANDLE"
	deadline    = time.Minute

	// stopSignal is one that isn't passed on.
	stopSignal = syscall.SIGVTALRM
)

// outcome is what a supervising helper writes to its file 3: when the tree has ended, and again when
// all was written.
type outcome struct {
	Result Result
	Text   string
	Err    string
	Lost   string
	Leak   string
	Lines  []string
}

// lose puts an error into the report, which JSON can't have in the result.
func (r *outcome) lose(err error) {
	r.Result.Lost = nil
	if err != nil {
		r.Lost = err.Error()
	}
}

func runHelper() {
	role := os.Getenv(helperVariable)
	if role == "" {
		return
	}
	os.Unsetenv(helperVariable)
	switch role {
	case "supervise":
		helpSupervise(os.Args[1:])
	case "shell":
		helpShell(os.Args[1:])
	case "count":
		helpCount()
	case "tally":
		helpTally()
	case "hold":
		helpHold()
	default:
		panic(role)
	}
	os.Exit(0)
}

// helpSupervise supervises its arguments. KAPI_ACTION is its process id. Its
// stopSignal makes it stop the tree.
func helpSupervise(args []string) {
	out := os.NewFile(3, "report")
	syscall.CloseOnExec(3)
	r := outcome{}
	send := json.NewEncoder(out).Encode
	defer func() { _ = send(r) }()
	signals := Catch()
	path, err := Look(args[0])
	if err != nil {
		r.Err = err.Error()
		return
	}
	grace, _ := time.ParseDuration(os.Getenv(graceVariable))
	action := strconv.Itoa(os.Getpid())
	if os.Getenv(handleOfOwn) != "" {
		n, _ := handle(os.Getpid())
		os.Setenv(handleVariable, strconv.FormatUint(n, 10))
	}
	var seen sync.Map
	command := Command{
		Path: path, Args: args,
		Env:     Environ(os.Environ(), []string{graceVariable, outputVariable, recordVariable, leftVariable, handleOfOwn}, action, 7, "SECRET", ""),
		Action:  action,
		Stderr:  os.Stderr,
		Signals: signals,
		Grace:   grace,
		Quiesce: sayQuiet,
	}
	if mode := os.Getenv(outputVariable); mode != "" {
		n, _ := strconv.Atoi(mode)
		command.Stdout, command.TTY = os.Stdout, TTY(n)
		command.Line = func(line []byte) { seen.Store(string(line), true) }
	}
	if mode := os.Getenv(recordVariable); mode != "" {
		command.Record = func(pid int) {
			fmt.Println("recorded", pid)
			for mode == "hang" {
				time.Sleep(time.Hour)
			}
		}
	}
	if os.Getenv(leftVariable) != "" {
		command.Left = func(_ Result, left []Process) { fmt.Println("left", left) }
	}
	// Before the start: the command's first line may have a signal sent here, which would be ignored.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, stopSignal)
	tree, err := Start(command)
	if err != nil {
		r.Err = err.Error()
		return
	}
	end := stopOn(stop, tree)
	r.Result = tree.Wait()
	seen.Range(func(line, _ any) bool {
		r.Lines = append(r.Lines, line.(string))
		return true
	})
	end()
	if err := r.Result.Err(); err != nil {
		r.Text = err.Error()
	}
	r.lose(r.Result.Lost)
	_ = send(r)
	<-tree.Written()
	r.lose(tree.Lost())
	if err := goleak.Find(goleak.IgnoreTopFunction("os/signal.signal_recv"), goleak.IgnoreTopFunction("os/signal.loop")); err != nil {
		r.Leak = err.Error()
	}
}

// stopOn stops the tree when a signal comes, until end is called.
func stopOn(stop <-chan os.Signal, tree *Tree) (end func()) {
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-stop:
			tree.Stop()
		case <-ended:
		}
	})
	return func() {
		close(ended)
		wg.Wait()
	}
}

// helpShell is as much of a shell as Ctrl-Z needs: it runs its arguments as a job
// in the foreground ("fg") or background ("bg", its first argument), supervised
// unless that is "fg hold", says when the job was stopped, continues it on a line of
// input, and says how it ended.
func helpShell(args []string) {
	signal.Ignore(syscall.SIGTTOU)
	self, _ := os.Executable()
	role := "supervise"
	if args[1] == "hold" {
		role = "hold"
	}
	pid, err := syscall.ForkExec(self, append([]string{self}, args[1:]...), &syscall.ProcAttr{
		Env:   append(os.Environ(), helperVariable+"="+role),
		Files: []uintptr{0, 1, 2, 3},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Foreground: args[0] == "fg"},
	})
	if err != nil {
		panic(err)
	}
	for {
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(pid, &status, syscall.WUNTRACED, nil); errors.Is(err, syscall.EINTR) {
			continue
		}
		if !status.Stopped() {
			fmt.Println("ended", status.ExitStatus())
			return
		}
		fmt.Println("stopped by", int(status.StopSignal()))
		_ = unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, os.Getpid())
		_, _ = bufio.NewReader(os.NewFile(4, "go on")).ReadString('\n')
		_ = unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, pid)
		_ = syscall.Kill(-pid, syscall.SIGCONT)
	}
}

// helpHold only puts stops off, until TERM.
func helpHold() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	release := HoldStops(sayQuiet)
	fmt.Println("holding", os.Getpid())
	<-term
	release()
	if err := goleak.Find(goleak.IgnoreTopFunction("os/signal.signal_recv"), goleak.IgnoreTopFunction("os/signal.loop")); err != nil {
		fmt.Println(err)
	}
}

// sayQuiet is a quiesce that tells when it was called and when f has returned.
func sayQuiet(f func()) {
	fmt.Println("quiet")
	f()
	fmt.Println("on")
}

// helpCount counts the signals INT and TERM; USR1 makes it say how many and end.
func helpCount() {
	c := make(chan os.Signal, 16)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1)
	fmt.Println("counting", os.Getpid())
	counts := map[os.Signal]int{}
	for sig := range c {
		if sig == syscall.SIGUSR1 {
			fmt.Printf("INT %d TERM %d\n", counts[syscall.SIGINT], counts[syscall.SIGTERM])
			return
		}
		counts[sig]++
		fmt.Println("got", int(sig.(syscall.Signal)))
	}
}

// lastSignal ends a tally. No other has a higher number: of several that wait the kernel and Go hand
// out the lower ones first.
const lastSignal = syscall.Signal(kernelSignals)

// helpTally says what signals it gets, until lastSignal.
func helpTally() {
	c := make(chan os.Signal, 64)
	signal.Notify(c, append(passed(), lastSignal)...)
	fmt.Println("counting", os.Getpid())
	for sig := range c {
		if sig == lastSignal {
			fmt.Println("that is all")
			return
		}
		fmt.Println("got", int(sig.(syscall.Signal)))
	}
}
