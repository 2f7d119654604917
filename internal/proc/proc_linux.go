package proc

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
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
var self = sync.OnceValue(system.self)

func (p procfs) self() Identity {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	id := Identity{Host: host, PID: os.Getpid()}

	// In a PID namespace of its own over a /proc of its parent's, the pids that
	// getpid gives and those that /proc shows are not the same numbers, and
	// every look-up would prove the wrong thing.
	shown, err := os.Readlink(p.path("self"))
	if err != nil || shown != strconv.Itoa(id.PID) {
		return id
	}
	boot, err := os.ReadFile(p.path("sys/kernel/random/boot_id"))
	if err != nil {
		return id
	}
	namespace, err := os.Readlink(p.path("self/ns/pid"))
	if err != nil {
		return id
	}
	// Start times are shown shifted in a time namespace. Kernels before 5.6
	// have none.
	if t, err := os.Readlink(p.path("self/ns/time")); err == nil {
		namespace += " " + t
	}
	st, err := p.stat(id.PID)
	if err != nil {
		return id
	}
	id.BootID = strings.TrimSpace(string(boot))
	id.PIDNamespace = namespace
	id.StartTime = st.start
	return id
}

func (id Identity) life() Life {
	life, _ := system.look(id, self())
	return life
}

func (id Identity) stopped() bool {
	life, state := system.look(id, self())
	return life == Alive && (state == 'T' || state == 't')
}

// look says what is known of a process to one who is from, and the state of
// the process when it is alive.
func (p procfs) look(id, from Identity) (Life, byte) {
	if id.BootID == "" || id.PIDNamespace == "" || id.PID <= 0 || id.StartTime == 0 ||
		id.BootID != from.BootID || id.PIDNamespace != from.PIDNamespace {
		return Unknown, 0
	}
	st, err := p.stat(id.PID)
	if missing(err) {
		// A /proc mounted with hidepid doesn't show the processes of others;
		// the kernel answers for them all the same.
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

// living returns the leader of a process or, when that has ended before the
// other threads, one of those. fs.ErrNotExist: none lives.
func (p procfs) living(pid int, leader stat) (stat, error) {
	if !leader.dead() {
		return leader, nil
	}
	// num_threads of an ended process is 1, its leader, which waits to be reaped.
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

func survivors(action string) ([]Process, error) { return system.survivors(action) }

func terminate(action string, p Process) error {
	// A handle of the process first (pidfd_open(2)): if the pid carries the action after
	// that, the handle is of this process, or of one that has ended.
	handle, err := os.FindProcess(p.PID)
	if err != nil {
		return fmt.Errorf("ask process %d to end: %w", p.PID, err)
	}
	defer handle.Release()
	if _, carries, _ := system.carries(p.PID, []byte(ActionVariable+"="+action)); !carries {
		return nil
	}
	if err = handle.Signal(syscall.SIGTERM); err == nil {
		err = handle.Signal(syscall.SIGCONT)
	}
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("ask process %d to end: %w", p.PID, err)
	}
	return nil
}

// scans bounds how often the process table is listed on a machine where
// processes come and go all the time.
const scans = 4

func (p procfs) survivors(action string) ([]Process, error) {
	entry := []byte(ActionVariable + "=" + action)
	found := map[int]Process{}
	settled := map[int]bool{}
	// One listing isn't enough: a process may fork and end behind the reader's
	// back, so that neither it nor its child is seen. It is repeated until it
	// shows nobody new.
	for range scans {
		pids, err := p.pids()
		if err != nil {
			return nil, fmt.Errorf("list the processes: %w", err)
		}
		fresh := false
		for _, pid := range pids {
			if settled[pid] {
				continue
			}
			fresh = true
			name, carries, sure := p.carries(pid, entry)
			if carries {
				found[pid] = Process{PID: pid, Name: name}
			}
			settled[pid] = sure
		}
		if !fresh {
			break
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b Process) int {
		return cmp.Compare(a.PID, b.PID)
	}), nil
}

// carries says whether a process lives with an entry in its environment. It is
// not sure while the process may be within an exec, when it has none.
func (p procfs) carries(pid int, entry []byte) (name string, carries, sure bool) {
	st, err := p.stat(pid)
	if err != nil {
		return "", false, true
	}
	task, err := p.living(pid, st)
	if err != nil {
		return "", false, true
	}
	// The environment of a leader that ended is shown by its threads only.
	env, err := os.ReadFile(p.path(strconv.Itoa(pid), "task", strconv.Itoa(task.pid), "environ"))
	if err != nil {
		return "", false, true
	}
	for e := range bytes.SplitSeq(env, []byte{0}) {
		if bytes.Equal(e, entry) {
			return st.name, true, true
		}
	}
	return "", false, len(env) > 0 || st.kernel()
}

// processStart is for kernels that refuse us their clock.
var processStart = time.Now()

func sinceBoot() time.Duration {
	const clockBoottime = 7 // CLOCK_BOOTTIME; syscall has no name for it
	var ts syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&ts)), 0)
	if errno != 0 {
		return time.Since(processStart)
	}
	return time.Duration(ts.Nano())
}
