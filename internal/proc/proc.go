// Package proc answers what kapi must know about the processes of this machine
// before it may call a runner dead:
//
//   - [Self] names the calling process so that another peer can look for it;
//   - [Identity.Life] says whether a process so named still exists, and
//     [Identity.Stopped] whether it is only held (Ctrl-Z);
//   - [Survivors] finds what a dead runner left behind;
//   - [SinceBoot] is the clock by which silence is measured.
//
// It promises to err on one side: [Gone] is a proof, and wherever there is
// doubt (another machine, another container, a hidden or unreadable process,
// a system other than Linux) the answer is [Unknown]. Nothing is kept between
// calls but the identity of the calling process; all of it may be called
// concurrently.
package proc

import (
	"fmt"
	"time"
)

// ActionVariable is the environment variable by which the processes started
// for an action are recognised; its value is the action's id.
const ActionVariable = "KAPI_ACTION"

// Identity names one process for as long as the machine runs: a pid alone is
// given out again. What is empty or zero is not known, and then nothing can be
// proven about the process.
type Identity struct {
	Host string // as it calls itself; for people, never compared
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
}

// Self is the identity of the calling process. Host and PID are always known.
func Self() Identity { return self() }

// Life is what can be said of a process that may have ended.
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
// are not considered: see [Survivors].
func (id Identity) Life() Life { return id.life() }

// Stopped says whether the process is [Alive] but stopped by a signal (Ctrl-Z)
// or by a debugger.
func (id Identity) Stopped() bool { return id.stopped() }

// Process is a process of this machine as people know it.
type Process struct {
	PID  int
	Name string // the kernel's short name, at most 15 bytes on Linux
}

// Survivors lists the processes, the calling one included, that carry the
// action in their environment (see [ActionVariable]), by ascending pid. Zombies
// are not among them; on systems other than Linux nothing is.
//
// It sees what the environment shows: not the processes of other users, unless
// called as root, and not those that were started with a cleaned environment or
// wrote over theirs, as some daemons do to set their title. The error is that
// of reading the process table as a whole, or of an empty action.
func Survivors(action string) ([]Process, error) {
	if action == "" {
		return nil, fmt.Errorf("look for the processes of an action: its id is empty")
	}
	return survivors(action)
}

// Terminate asks a survivor of an action to end (SIGTERM), if it still is that. A stopped one
// is continued, so that it takes notice. The error says why it could not be asked.
func Terminate(action string, p Process) error { return terminate(action, p) }

// SinceBoot reads a clock that never goes back and, on Linux, goes on while the
// machine is suspended. Only differences between two readings of one process
// mean anything: where the system has no such clock, it counts from the start
// of the process and stands still in a suspend.
func SinceBoot() time.Duration { return sinceBoot() }
