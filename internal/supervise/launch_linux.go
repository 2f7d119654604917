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

// pidVariables are those by which systemd tells a service that something is meant for it: the
// watchdog, sockets, its standard output. They have the pid of the process that systemd has started,
// which is kapi. handleVariable has the number of its pidfd (since systemd 259).
var pidVariables = []string{"WATCHDOG_PID", "LISTEN_PID", "SYSTEMD_EXEC_PID"}

const handleVariable = "LISTEN_PIDFDID"

// A launcher is the process that becomes the command. It exists, and its pid is known, before it
// executes anything, and it executes nothing if this process is gone by then.
type launcher struct {
	launch
	pid     int
	adopter *adopter // its parent; nil: this process is
	near    int      // where it is told to go, -1 once closed
	memory  [stackSize]byte
}

// newLauncher makes the process, between which and this one an adopter stands if between is true.
func newLauncher(c Command, stdout, stderr *os.File, between bool) (l *launcher, err error) {
	l = &launcher{near: -1}
	if err := l.strings(c); err != nil {
		return nil, err
	}
	l.files = [3]uintptr{0, descriptor(stdout), descriptor(stderr)}
	l.shortenFiles()
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
	_ = unix.Close(ends[1]) // the end of the other side must be seen
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

// strings makes what the command is executed with.
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

// environ returns the command's environment, with room where its own pid is to stand instead of ours.
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

// ownHandle is the number of this process's pidfd, if the environment has one to compare it with.
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

// handle returns the number of the inode that pidfds of a process have: since Linux 6.9 another one
// for each process that there ever was.
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

// shortenFiles gives the command the limit of open files that this process was started with. Go's
// runtime raises the soft one to one below the hard one; another was set by somebody since.
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

// run lets the process execute the command, and returns why it could not, if so. It also returns
// when the process was stopped before: its outcome is then that of the command.
func (l *launcher) run(procs *procs) error {
	var number uint64
	if len(l.handles) > 0 {
		number, _ = handle(l.pid)
	}
	word := make([]byte, len(l.word))
	binary.NativeEndian.PutUint64(word, number)
	if err := unix.Send(l.near, word, unix.MSG_NOSIGNAL); err != nil {
		return nil // it was killed: that is its outcome
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
		case strings.Contains("Tt", procs.stat(l.pid).state()): // Ctrl-Z, in the moment before it executes
			return nil
		}
	}
}

// outcome reads why the command could not be executed. End of file: it could, or the process was killed.
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

// discard ends the process, which has not become the command.
func (l *launcher) discard() {
	l.close()
	if l.pid != 0 && l.adopter == nil {
		_ = unix.Kill(l.pid, unix.SIGKILL) // it may be stopped
		reapOne(l.pid)
	}
	if l.adopter != nil {
		l.adopter.discard(l.pid)
	}
}

// close closes what is only needed until the command is executed.
func (l *launcher) close() {
	if l.near >= 0 {
		_ = unix.Close(l.near)
		l.near = -1
	}
}
