package supervise

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi/internal/nofile"
)

// pidVariables name the variables with which systemd says which process something is for: the watchdog,
// sockets, standard output. Their value is the pid of the process that systemd started, which is kapi.
// handleVariable holds the inode number of that process's pidfd (since systemd 259).
var pidVariables = []string{"WATCHDOG_PID", "LISTEN_PID", "SYSTEMD_EXEC_PID"}

const handleVariable = "LISTEN_PIDFDID"

// A launcher is the process that becomes the command. It exists, with a known pid, before it executes
// anything, and executes nothing if this process is gone by then.
type launcher struct {
	launch
	pid     int
	adopter *adopter // its parent; nil: this process is its parent
	near    int      // socket on which it is told to execute; -1 once closed
	memory  [stackSize]byte
}

// newLauncher creates the launcher; if between is true, as a child of an adopter.
func newLauncher(c Command, stdout, stderr *os.File, between bool) (l *launcher, err error) {
	l = &launcher{near: -1}
	if err := l.strings(c); err != nil {
		return nil, err
	}
	l.files = [3]uintptr{0, descriptor(stdout), descriptor(stderr)}
	l.shortenFiles()
	if from, ok := l.keepFromNumber(c.Env); ok && c.Keep != nil {
		l.keep, l.keepFrom = c.Keep.Fd(), from
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	l.near = ends[0]
	l.launch.near, l.far = uintptr(ends[0]), uintptr(ends[1])
	l.stack = stacked(l.memory[:], &l.launch, nil)
	first := l.stack
	if between {
		a, err := newAside(&l.launch)
		if err != nil {
			_ = unix.Close(ends[1])
			l.close()
			return nil, err
		}
		l.adopter, first = &adopter{aside: a}, a.stack
	}
	pid, err := forked(func() int { return share(first) }, &l.mask)
	runtime.KeepAlive(stdout)
	runtime.KeepAlive(stderr)
	runtime.KeepAlive(c.Keep)
	_ = unix.Close(ends[1]) // closing our copy makes end of file visible
	if err == nil && between {
		l.adopter.pid = pid
		pid, err = l.adopter.await(l.near)
	}
	l.pid = pid
	if err != nil {
		l.discard()
		return nil, err
	}
	return l, nil
}

// strings prepares the path, arguments and environment to execute with.
func (l *launcher) strings(c Command) (err error) {
	if l.path, err = syscall.BytePtrFromString(c.Path); err != nil {
		return err
	}
	shell := c.byShell()
	argv, err := syscall.SlicePtrFromStrings(c.Args)
	if err != nil {
		return err
	}
	shellArgv, err := syscall.SlicePtrFromStrings(shell.Args)
	if err != nil {
		return err
	}
	if l.shell, err = syscall.BytePtrFromString(shell.Path); err != nil {
		return err
	}
	env, err := l.environ(c.Env)
	if err != nil {
		return err
	}
	l.argv, l.shellArgv, l.env = &argv[0], &shellArgv[0], &env[0]
	return nil
}

// environ returns the command's environment, with room for the command's pid wherever env has ours.
func (l *launcher) environ(env []string) ([]*byte, error) {
	const longest = 20 // digits
	own := ownHandle(env)
	var all []*byte
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		room := &l.pids
		switch {
		case slices.Contains(pidVariables, name) && value == strconv.Itoa(os.Getpid()):
		case name == handleVariable && value == own:
			room = &l.handles
		default:
			pointer, err := syscall.BytePtrFromString(entry)
			if err != nil {
				return nil, err
			}
			all = append(all, pointer)
			continue
		}
		text := make([]byte, len(name)+1+longest+1)
		copy(text, name+"=")
		*room = append(*room, text[len(name)+1:])
		all = append(all, &text[0])
	}
	return append(all, nil), nil
}

// ownHandle returns the inode number of this process's pidfd, or "" if env has no such number to replace.
func ownHandle(env []string) string {
	if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, handleVariable+"=") }) {
		return ""
	}
	n, err := handle(os.Getpid())
	if err != nil {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// handle returns the inode number of a process's pidfds. Since Linux 6.9 it is unique among all
// processes since boot.
func handle(pid int) (uint64, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	err = unix.Fstat(fd, &stat)
	return stat.Ino, err
}

// shortenFiles gives the command the limit of open files that this process was started with, as Go's
// runtime raises the soft limit to one below the hard one. Any other value was set on purpose and
// stays.
func (l *launcher) shortenFiles() {
	soft, hard, ok := nofile.Original()
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil || !ok {
		return
	}
	if uint64(now.Cur) == hard-1 && uint64(now.Max) == hard && soft < hard-1 {
		l.limit = &[2]uint64{soft, hard}
	}
}

// keepFromNumber returns the lowest number that Command.Keep may have in the command: above those that shells
// and scripts use, and those of sockets that are passed on (sd_listen_fds(3)). It returns false if the limit
// of open files leaves no such number.
func (l *launcher) keepFromNumber(env []string) (uintptr, bool) {
	const usual, firstPassed = 200, 3
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	most := uint64(limit.Cur)
	if l.limit != nil {
		most = min(most, l.limit[0])
	}
	passed := uint64(firstPassed)
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, "LISTEN_FDS="); ok {
			if n, err := strconv.ParseUint(value, 10, 31); err == nil {
				passed = firstPassed + n
			}
		}
	}
	from := max(min(usual, most-most/4), passed)
	return uintptr(from), from < most
}

// run tells the launcher to execute the command, and returns an error if it could not. It returns nil
// as well if the process was killed or stopped before it executed: that then counts as the command's
// outcome.
func (l *launcher) run(procs *procs) error {
	var number uint64
	if len(l.handles) > 0 {
		number, _ = handle(l.pid)
	}
	word := make([]byte, len(l.word))
	binary.NativeEndian.PutUint64(word, number)
	if err := unix.Send(l.near, word, unix.MSG_NOSIGNAL); err != nil {
		return nil // it was killed, and that is the command's outcome
	}
	for {
		const glance = 20 // ms
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(l.near), Events: unix.POLLIN}}, glance)
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return err
		case n > 0:
			defer l.close()
			return l.outcome(word)
		case strings.Contains("Tt", procs.stat(l.pid).state()): // stopped by Ctrl-Z just before executing
			return nil
		}
	}
}

// outcome reads why the command could not be executed. End of file means that it was, or that the
// process was killed.
func (l *launcher) outcome(word []byte) error {
	for {
		n, err := unix.Read(l.near, word)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == len(word):
			return syscall.Errno(binary.NativeEndian.Uint64(word))
		default:
			return nil
		}
	}
}

// discard ends the launcher, which has not become the command.
func (l *launcher) discard() {
	l.close()
	if l.pid != 0 && l.adopter == nil {
		_ = unix.Kill(l.pid, unix.SIGKILL) // a stopped process would not notice the closed socket
		reapOne(l.pid)
	}
	if l.adopter != nil {
		l.adopter.discard(l.pid)
	}
}

// close closes the socket, which is needed only until the command is executed.
func (l *launcher) close() {
	if l.near >= 0 {
		_ = unix.Close(l.near)
		l.near = -1
	}
}
