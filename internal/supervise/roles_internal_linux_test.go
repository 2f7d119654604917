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

// The test binary also plays the other processes: helperVariable names its role.
const (
	helperVariable = "SUPERVISE_HELPER"
	graceVariable  = "SUPERVISE_GRACE"
	// outputVariable has standard output scanned too; its value is a TTY.
	outputVariable = "SUPERVISE_OUTPUT"
	// recordVariable has the pid printed before the command is executed. If it is "hang", the helper
	// stops there.
	recordVariable = "SUPERVISE_RECORD"
	// keepVariable names a file that is to be kept.
	keepVariable = "SUPERVISE_KEEP"
	// leftVariable has the processes that the command left running printed.
	leftVariable = "SUPERVISE_LEFT"
	// handleOfOwn sets handleVariable to the number of the helper's own pidfd, as a service manager
	// does.
	handleOfOwn = "SUPERVISE_HANDLE"
	deadline    = time.Minute

	// stopSignal is a signal that isn't passed on.
	stopSignal = syscall.SIGVTALRM
)

// outcome is what a supervising helper writes to its descriptor 3: once when the tree has ended, and
// again when all output has been written.
type outcome struct {
	Result Result
	Text   string
	Err    string
	Lost   string
	Leak   string
	Lines  []string
}

// lose moves an error from the result, where JSON can't encode it, to the outcome.
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

// helpSupervise supervises the command in its arguments. KAPI_ACTION is its own pid. It stops the tree
// on stopSignal.
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
	if name := os.Getenv(keepVariable); name != "" {
		f, err := os.Open(name)
		if err != nil {
			panic(err)
		}
		defer f.Close()
		command.Keep = f
	}
	if os.Getenv(leftVariable) != "" {
		command.Left = func(_ Result, left []Process) { fmt.Println("left", left) }
	}
	// Registered before the start, as the command's first line may already trigger the signal.
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

// stopOn stops the tree when a signal arrives, until end is called.
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

// helpShell does what a shell does for Ctrl-Z: it runs its arguments as a job in the foreground ("fg")
// or background ("bg", its first argument), supervised unless they start with "fg hold". It reports
// when the job has stopped, continues it on a line of input, and reports how it ended.
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

// helpHold only holds stops off, until SIGTERM.
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

// sayQuiet is a quiesce function that prints a line when it is called and one when f has returned.
func sayQuiet(f func()) {
	fmt.Println("quiet")
	f()
	fmt.Println("on")
}

// helpCount counts SIGINT and SIGTERM; on SIGUSR1 it prints the counts and exits.
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

// lastSignal ends a tally. It has the highest number, and both the kernel and Go deliver pending
// signals with lower numbers first.
const lastSignal = syscall.Signal(kernelSignals)

// helpTally prints the signals that it gets, until lastSignal.
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
