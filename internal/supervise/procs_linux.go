package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A procs reads the machine's processes from a proc file system. It is opened before the command is
// started and holds everything it needs: when a tree is to be stopped, this process may be out of
// descriptors, and /proc may be mounted over or gone. It is not safe for concurrent use.
type procs struct {
	dir int // root of a proc(5)
	// spare is closed to make room for a file when no descriptor is left; -1 while it is closed.
	spare int
	// hidden says why dir shows no processes; nil if it does.
	hidden error
}

// openProcs opens /proc. If that is empty or belongs to another PID namespace, openProcs mounts a
// proc(5) of its own, which takes privileges. It returns an error only if no descriptor is left.
func openProcs() (*procs, error) {
	dir, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	p := &procs{dir: dir, spare: -1, hidden: err}
	if err == nil {
		p.hidden = p.check()
	}
	if p.hidden != nil && !scarce(p.hidden) {
		if own, err := mountProcs(); err == nil {
			_ = unix.Close(p.dir)
			p.dir, p.hidden = own, nil
			p.hidden = p.check()
		}
	}
	if scarce(p.hidden) {
		p.close()
		return nil, fmt.Errorf("open /proc: %w", p.hidden)
	}
	if p.hidden == nil {
		p.refill()
		if p.spare < 0 {
			p.close()
			return nil, fmt.Errorf("open /proc: %w", unix.EMFILE)
		}
	}
	return p, nil
}

// scarce says whether err means that no descriptor is left.
func scarce(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }

// mountProcs makes a proc(5) that isn't attached to any path.
func mountProcs() (dir int, err error) {
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(mount)
	return unix.Openat(mount, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// check returns an error unless dir shows this process under its own pid.
func (p *procs) check() error {
	var link [32]byte
	n, err := unix.Readlinkat(p.dir, "self", link[:])
	switch {
	case scarce(err):
		return err
	case err != nil:
		return errors.New("/proc shows no processes")
	case string(link[:n]) != strconv.Itoa(os.Getpid()):
		return errors.New("/proc is that of another PID namespace")
	}
	return nil
}

func (p *procs) close() {
	for _, fd := range []int{p.dir, p.spare} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
	p.dir, p.spare = -1, -1
}

// refill opens the spare descriptor again, if possible.
func (p *procs) refill() {
	if p.spare >= 0 {
		return
	}
	fd, err := unix.FcntlInt(uintptr(p.dir), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		fd = -1
	}
	p.spare = fd
}

// open calls f, which opens a file. If no descriptor is left, it first closes the spare one.
func (p *procs) open(f func() (int, error)) (int, error) {
	fd, err := f()
	if scarce(err) && p.spare >= 0 {
		_ = unix.Close(p.spare)
		p.spare = -1
		fd, err = f()
	}
	return fd, err
}

// read returns a file of a process's directory.
func (p *procs) read(pid int, name string) ([]byte, error) {
	fd, err := p.open(func() (int, error) {
		return unix.Openat(p.dir, strconv.Itoa(pid)+"/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	defer p.refill()
	defer unix.Close(fd)
	return readFile(fd)
}

func readFile(fd int) ([]byte, error) {
	content := make([]byte, 0, 1024)
	for {
		if len(content) == cap(content) {
			content = append(content, 0)[:len(content)]
		}
		n, err := unix.Read(fd, content[len(content):cap(content)])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, err
		case n == 0:
			return content, nil
		default:
			content = content[:len(content)+n]
		}
	}
}

// pids lists all visible processes.
func (p *procs) pids() (pids []int, err error) {
	if p.hidden != nil {
		return nil, p.hidden
	}
	if _, err := unix.Seek(p.dir, 0, 0); err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	buf := make([]byte, 16<<10)
	for {
		n, err := unix.ReadDirent(p.dir, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list the processes: %w", err)
		}
		if n == 0 {
			return pids, nil
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			if pid, err := strconv.Atoi(name); err == nil {
				pids = append(pids, pid)
			}
		}
	}
}

// children lists the children of this process or of one of its own processes. If /proc is mounted with
// hidepid, this is the only way to see those that run as another user.
func (p *procs) children(of int) (pids []int) {
	tasks, err := p.open(func() (int, error) {
		return unix.Openat(p.dir, strconv.Itoa(of)+"/task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil
	}
	threads, err := (&procs{dir: tasks, spare: -1}).pids()
	_ = unix.Close(tasks)
	p.refill()
	if err != nil {
		return nil
	}
	for _, thread := range threads {
		content, _ := p.read(of, "task/"+strconv.Itoa(thread)+"/children")
		for field := range bytes.FieldsSeq(content) {
			if pid, err := strconv.Atoi(string(field)); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// A stat is what /proc/PID/stat shows after the name: state, parent, group and so on
// (proc_pid_stat(5)). It is empty if there is no such process.
type stat struct {
	name   string
	fields [][]byte
}

// Indexes into stat.fields.
const (
	statState   = 0
	statParent  = 1
	statGroup   = 2
	statThreads = 17
	statStart   = 19
	statFields  = 20
)

func (p *procs) stat(pid int) stat {
	line, err := p.read(pid, "stat")
	if err != nil {
		return stat{}
	}
	return parseStat(line)
}

func parseStat(line []byte) stat {
	// The name is in parentheses and may contain anything, parentheses included.
	open, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return stat{}
	}
	s := stat{string(line[open+1 : end]), bytes.Fields(line[end+1:])}
	if len(s.fields) < statFields {
		return stat{}
	}
	return s
}

// state returns the state letter, "?" if there is no such process.
func (s stat) state() string {
	if s.fields == nil {
		return "?"
	}
	return string(s.fields[statState])
}

// number returns a field, 0 if it is missing.
func (s stat) number(field int) int {
	if s.fields == nil {
		return 0
	}
	n, _ := strconv.Atoi(string(s.fields[field]))
	return n
}

// lives is false for a process that has ended. A zombie with more than one thread still runs: only its
// first thread has ended.
func (s stat) lives() bool {
	return s.fields != nil && (!strings.Contains("ZX", s.state()) || s.number(statThreads) != 1)
}

// runs says whether a process is neither stopped nor ended and, unless group is 0, is in that group.
func (s stat) runs(group int) bool {
	return s.fields != nil && !strings.Contains("TtZX", s.state()) &&
		(group == 0 || s.number(statGroup) == group)
}
