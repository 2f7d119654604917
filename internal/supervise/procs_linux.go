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

// A procs is where the kernel shows the machine's processes. It is opened before the command is
// started and holds all that looking takes: when a tree is to be stopped, this process may have no
// descriptor left, and /proc may be another one, or none. It is not safe for concurrent use.
type procs struct {
	dir int // a proc(5)
	// spare is given up for a file when no other descriptor is to be had; -1 while it is.
	spare int
	// hidden says why dir shows nothing, if so.
	hidden error
}

// openProcs opens /proc. Where that is empty, or that of another PID namespace, a proc(5) of this
// process's own does as well, which the kernel makes for the privileged. The error is that of
// having no descriptor left.
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

// scarce tells the errors of having no descriptor left.
func scarce(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }

// mountProcs makes a proc(5) that is mounted nowhere.
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

// check says why no processes are shown, if so: this one must be there, under its own number.
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

// refill gets a spare descriptor, if there is one again.
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

// open calls f, which opens a file, with the spare descriptor if there is no other.
func (p *procs) open(f func() (int, error)) (int, error) {
	fd, err := f()
	if scarce(err) && p.spare >= 0 {
		_ = unix.Close(p.spare)
		p.spare = -1
		fd, err = f()
	}
	return fd, err
}

// read returns a file of a process.
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

// pids lists the processes.
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

// children lists the children of this process, or of one of its own: where /proc is mounted with
// hidepid, those that run under another user are there only.
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

// A stat is what the kernel shows of a process behind its name: state, parent, group, and so on
// (proc_pid_stat(5)). It is empty if there is no such process.
type stat struct {
	name   string
	fields [][]byte
}

// Places in stat.fields.
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
	// The name stands in brackets and may have anything in it, brackets too.
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

// state is the letter of it, "?" if there is no such process.
func (s stat) state() string {
	if s.fields == nil {
		return "?"
	}
	return string(s.fields[statState])
}

// number returns one of the fields, 0 if there is none.
func (s stat) number(field int) int {
	if s.fields == nil {
		return 0
	}
	n, _ := strconv.Atoi(string(s.fields[field]))
	return n
}

// lives is false for a process that has ended. A zombie whose other threads go on is no zombie yet:
// it has several.
func (s stat) lives() bool {
	return s.fields != nil && (!strings.Contains("ZX", s.state()) || s.number(statThreads) != 1)
}

// runs is false for a process that is stopped or has ended, or, unless group is 0, is of another
// group.
func (s stat) runs(group int) bool {
	return s.fields != nil && !strings.Contains("TtZX", s.state()) &&
		(group == 0 || s.number(statGroup) == group)
}
