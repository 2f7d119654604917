package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// system is where the kernel shows its processes.
const system = procfs("/proc")

// self can't change while the process runs, so it is read once.
var self = sync.OnceValues(system.self)

func (p procfs) self() (Identity, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	id := Identity{Host: host, PID: os.Getpid()}
	boot, bootErr := os.ReadFile(p.path("sys/kernel/random/boot_id"))
	clock, clockErr := os.Readlink(p.path("self/ns/time"))
	if bootErr == nil { // even if this /proc is of another PID namespace
		id.Clock = strings.TrimSpace(strings.TrimSpace(string(boot)) + " " + clock)
	}

	// If this process is in a PID namespace of its own, but /proc is that of the
	// parent namespace, the pids from getpid(2) are not those in /proc, and every
	// look-up would prove something about another process.
	shown, err := os.Readlink(p.path("self"))
	if err != nil {
		return id, err
	}
	if shown != strconv.Itoa(id.PID) {
		return id, fmt.Errorf("%s is that of another PID namespace", string(p))
	}
	if bootErr != nil {
		return id, bootErr
	}
	namespace, err := os.Readlink(p.path("self/ns/pid"))
	if err != nil {
		return id, err
	}
	// In a time namespace, /proc shows shifted start times. Kernels before 5.6
	// have no time namespaces.
	if clockErr == nil {
		namespace += " " + clock
	}
	st, err := p.stat(id.PID)
	if err != nil {
		return id, err
	}
	id.BootID = strings.TrimSpace(string(boot))
	id.PIDNamespace = namespace
	id.StartTime = st.start
	return id, nil
}

func (id Identity) life() Life {
	life, _ := system.look(id, Self())
	return life
}

func (id Identity) stopped() bool {
	life, state := system.look(id, Self())
	return life == Alive && (state == 'T' || state == 't')
}

// look returns what can be known about the process id by looking at it from the
// process from, and the state of id if it is alive.
func (p procfs) look(id, from Identity) (Life, byte) {
	if id.BootID == "" || id.PIDNamespace == "" || id.PID <= 0 || id.StartTime == 0 ||
		id.BootID != from.BootID || id.PIDNamespace != from.PIDNamespace {
		return Unknown, 0
	}
	st, err := p.stat(id.PID)
	if missing(err) {
		// A /proc mounted with hidepid doesn't show other users' processes, but
		// kill(2) still tells whether they exist.
		if errors.Is(syscall.Kill(id.PID, 0), syscall.ESRCH) {
			return Gone, 0
		}
		return Unknown, 0
	}
	if err != nil {
		return Unknown, 0
	}
	if st.start != id.StartTime {
		return Gone, 0
	}
	task, err := p.living(id.PID, st)
	if missing(err) {
		return Gone, 0
	}
	if err != nil {
		return Unknown, 0
	}
	return Alive, task.state
}

// living returns the first thread (the leader) of a process or, if that has
// ended, another one that lives. It returns fs.ErrNotExist if none lives.
func (p procfs) living(pid int, leader stat) (stat, error) {
	if !leader.dead() {
		return leader, nil
	}
	// In a process that has ended, only the leader is counted, until it is reaped.
	if leader.threads <= 1 {
		return stat{}, fs.ErrNotExist
	}
	tasks := procfs(p.path(strconv.Itoa(pid), "task"))
	tids, err := tasks.pids()
	if err != nil {
		return stat{}, err
	}
	for _, tid := range tids {
		st, err := tasks.stat(tid)
		switch {
		case missing(err):
		case err != nil:
			return stat{}, err
		case !st.dead():
			return st, nil
		}
	}
	return stat{}, fs.ErrNotExist
}

// processStart stands in for the kernel's clock where a sandbox refuses it.
var processStart = time.Now()

// The clocks of clock_gettime(2); syscall has no names for them.
const (
	clockMonotonic = 1
	clockBoottime  = 7
)

func sinceBoot() time.Duration { return read(clockBoottime) }

func awake() time.Duration { return read(clockMonotonic) }

func read(clock uintptr) time.Duration {
	var ts syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&ts)), 0)
	if errno != 0 {
		return time.Since(processStart)
	}
	return time.Duration(ts.Nano())
}
