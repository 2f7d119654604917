package main

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/fault"
	"github.com/kettubot/kapi/internal/supervise"
)

// Exit codes: those of sysexits.h where it has one. Scripts rely on them.
const (
	exitOther       = 1
	exitUsage       = 64
	exitUnavailable = 69
	exitFault       = 70
	exitHeld        = 75
	exitForbidden   = 77
	exitTimeout     = 124 // as timeout(1) has it
)

// exitCode is the only place that turns errors into exit codes. The first rule that matches wins.
func exitCode(err error) int {
	var status exitStatus
	var interrupted *interruptedError
	var exec *supervise.ExecError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return status.code()
	case errors.As(err, &interrupted):
		return 128 + int(interrupted.signal)
	case errors.As(err, &exec):
		return exec.Code
	case is[*fault.Panic](err), errors.Is(err, errNotRun):
		return exitFault
	case is[*usageError](err), is[*noCommandError](err), is[*kong.ParseError](err), is[*kapi.InvalidError](err), is[*kapi.ArgumentsError](err):
		return exitUsage
	case is[*kapi.HeldError](err):
		return exitHeld
	case errors.Is(err, auth.ErrNoToken), errors.Is(err, auth.ErrInvalidToken), errors.Is(err, auth.ErrExpiredToken), errors.Is(err, auth.ErrForbidden):
		return exitForbidden
	case errors.Is(err, kapi.ErrUnavailable):
		return exitUnavailable
	}
	return exitOther
}

func is[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}

// An exitStatus ends kapi with that code, and without a message.
type exitStatus int

// code returns the code to exit with. The system keeps only its lowest byte, so that a failure with a code
// such as 256, which other systems have, would look like a success here: it becomes exitOther.
func (s exitStatus) code() int {
	if s != 0 && s&0xff == 0 {
		return exitOther
	}
	return int(s)
}

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// exitWith returns nil for 0.
func exitWith(code int) error {
	if code == 0 {
		return nil
	}
	return exitStatus(code)
}

// A usageError is a mistake on the command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// An interruptedError ends kapi as the signal would have.
type interruptedError struct {
	signal syscall.Signal
	// when is added to the text, such as " before the command was started".
	when string
}

func (e *interruptedError) Error() string {
	return fmt.Sprintf("stopped (%s)%s", e.signal, e.when)
}

// complain prints the error on stderr.
func (a *app) complain(err error) {
	var held *kapi.HeldError
	var noCommand *noCommandError
	var arguments *kapi.ArgumentsError
	switch {
	case err == nil, is[exitStatus](err):
	case errors.As(err, &noCommand):
		noCommand.printCommands(a.stderr)
	case errors.As(err, &held):
		a.eprintf("%s", a.describeHeld(held))
	case errors.As(err, &arguments):
		for _, f := range arguments.Fields {
			a.eprintf("operation %s: %s", arguments.Operation, f.Error())
		}
	default:
		a.eprintf("%v", err)
	}
}
