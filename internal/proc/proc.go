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
	// PIDNamespace names the process's PID namespace and, where the kernel has
	// them, its time namespace. PID and StartTime mean something only within
	// these. It is opaque, and can be compared only under the same BootID.
	PIDNamespace string
	// StartTime is when the process was started, in the kernel's clock ticks
	// since the boot. An exec doesn't change it.
	StartTime uint64
	// Clock names the clock that SinceBoot and Awake read. Readings can be compared between
	// processes with the same Clock.
	Clock string
}

// Self returns the identity of the calling process. Host and PID are always known; Unproven says
// why other fields are not.
func Self() Identity {
	id, _ := self()
	return id
}

// Unproven returns nil if all fields of Self are known. Otherwise other processes can't prove the death
// of this one, and the error says what the system refused when it was first asked. It wraps
// errors.ErrUnsupported on systems where a death can never be proven.
func Unproven() error {
	_, err := self()
	return err
}

// Life is what is known of a process that may have ended.
type Life int

const (
	// Unknown proves nothing: the process is of another boot or another PID
	// namespace, or can't be looked at from here.
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
// machine is suspended. Only the difference between two readings means anything, and only
// if both are of one process, or of processes with the same Identity.Clock. Where the system
// has no such clock, it counts from the start of the process and stands still in a suspend.
func SinceBoot() time.Duration { return sinceBoot() }

// Awake reads a clock like SinceBoot's that stands still while the machine is suspended.
func Awake() time.Duration { return awake() }
