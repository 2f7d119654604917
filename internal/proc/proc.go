// Package proc finds out what kapi must know about the processes of this machine
// before it may call a runner dead:
//
//   - [Self] names the calling process so that another peer can look for it;
//   - [Identity.Life] says whether a process so named still exists, and
//     [Identity.Stopped] whether it is only stopped (Ctrl-Z);
//   - [Describe] records what a runner starts, and [Table.Remains] finds what is left of
//     it once the runner is dead;
//   - [SinceBoot] reads the clock by which silence is measured.
//
// It never errs on the unsafe side: [Gone] is a proof, and whenever there is
// doubt (another machine, another container, a hidden or unreadable process,
// a system other than Linux) the answer is [Unknown]. Only the identity of the
// calling process is kept between calls. All functions may be called
// concurrently.
package proc

import (
	"fmt"
	"time"
)

// ActionVariable is the environment variable with the id of the action whose work a command does. It
// proves nothing, because anybody can read an id from a list (see NonceVariable).
const ActionVariable = "KAPI_ACTION"

// Identity names one process for as long as the machine runs; a pid alone may be
// reused. A field that is empty or zero is not known, and then nothing can be
// proven about the process.
type Identity struct {
	Host string // the name of its host; for people, never compared
	PID  int
	// BootID is the kernel's random id of this boot.
	BootID string
	// PIDNamespace names the namespaces that give PID and StartTime their
	// meaning: that of pids and, where the kernel has them, that of time. It is
	// opaque and comparable only under the same BootID.
	PIDNamespace string
	// StartTime is when the process was started, in the kernel's clock ticks
	// since the boot. It survives an exec.
	StartTime uint64
	// Clock names the clock that SinceBoot and Awake read: of processes with the same Clock,
	// the readings can be compared.
	Clock string
}

// Self returns the identity of the calling process. Host and PID are always known; Unproven says
// why other fields are not.
func Self() Identity {
	id, _ := self()
	return id
}

// Unproven is nil if Self is known whole. Otherwise it says what the system refused, when it
// was first asked: the death of this process can't be proven then. On systems where it never can
// be, the error wraps errors.ErrUnsupported.
func Unproven() error {
	_, err := self()
	return err
}

// Life is what is known of a process that may have ended.
type Life int

const (
	// Unknown proves nothing: the process is not of this boot or not of this
	// PID namespace, or can't be looked at from here.
	Unknown Life = iota
	// Alive is proven: the process exists, running, stopped or suspended.
	Alive
	// Gone is proven: the process has ended, reaped by its parent or not, or
	// its pid belongs to another process by now.
	Gone
)

func (l Life) String() string {
	switch l {
	case Unknown:
		return "unknown"
	case Alive:
		return "alive"
	case Gone:
		return "gone"
	}
	return fmt.Sprintf("Life(%d)", int(l))
}

// Life says whether the process still exists. The processes that it started
// are not considered: see [Table.Remains].
func (id Identity) Life() Life { return id.life() }

// Stopped says whether the process is [Alive] but stopped by a signal (Ctrl-Z)
// or by a debugger.
func (id Identity) Stopped() bool { return id.stopped() }

// SinceBoot reads a clock that never goes back and, on Linux, keeps running while the
// machine is suspended. Only differences between two readings of one process
// or of processes with the same Identity.Clock mean anything: where the system has no
// such clock, it counts from the start of the process and stands still in a suspend.
func SinceBoot() time.Duration { return sinceBoot() }

// Awake reads a clock like SinceBoot's that stands still while the machine is suspended.
func Awake() time.Duration { return awake() }
