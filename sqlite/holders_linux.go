package sqlite

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A lock is a line of /proc/locks (proc(5)).
type lock struct {
	pid       int
	exclusive bool
	from, to  int64 // the first and the last byte
}

// locksOn returns the locks that processes hold on a file. It reads the kernel's list of all locks. To ask
// about this file it would have to open and close it, which would release this process's own locks on it
// (fcntl(2)).
func locksOn(path string, file facts) (all []lock, err error) {
	text, err := os.ReadFile("/proc/locks")
	if err != nil {
		return nil, err
	}
	inode, device := strconv.FormatUint(file.inode, 10), sync.OnceValue(func() string { return lockDevice(path) })
	for line := range strings.Lines(string(text)) {
		// 7: POSIX  ADVISORY  WRITE 4711 08:01:131081 120 120
		f := strings.Fields(line)
		if len(f) != 8 || f[1] != "POSIX" && f[1] != "OFDLCK" {
			continue // lines of waiting processes have an arrow, so one field more
		}
		on, ofInode := strings.CutSuffix(f[5], ":"+inode)
		pid, badPID := strconv.Atoi(f[4])
		from, badFrom := strconv.ParseInt(f[6], 10, 64)
		to, endless := strconv.ParseInt(f[7], 10, 64)
		if !ofInode || badPID != nil || badFrom != nil || device() != "" && on != device() {
			continue // files on different file systems may have the same inode number
		}
		if endless != nil {
			to = math.MaxInt64 // EOF
		}
		all = append(all, lock{pid, f[3] == "WRITE", from, to})
	}
	return all, nil
}

// lockDevice returns the device number of the file system that path is on, as /proc/locks writes it, ""
// if it is unknown. On btrfs and overlayfs it differs from the device number that stat returns.
func lockDevice(path string) string {
	var stat unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &stat)
	mounts, readErr := os.ReadFile("/proc/self/mountinfo")
	if err != nil || readErr != nil || stat.Mask&unix.STATX_MNT_ID == 0 {
		return ""
	}
	for line := range strings.Lines(string(mounts)) {
		var id uint64
		var major, minor uint
		if _, err := fmt.Sscanf(line, "%d %d %d:%d", &id, new(uint64), &major, &minor); err == nil && id == stat.Mnt_id {
			return fmt.Sprintf("%02x:%02x", major, minor)
		}
	}
	return ""
}

// writer returns the process that has SQLite's lock for writing. It is 0 if it is unknown, and -1 if no process has the
// lock, or this one. It is called at each try to get the lock, so it doesn't go through all descriptors again, of which
// a server may have thousands.
func (o *openIndex) writer() int {
	if !isDescriptorOf(o.fd, o.path) {
		if o.fd = descriptorOf(o.path); o.fd < 0 {
			return 0
		}
	}
	pid, held, err := lockedAt(o.fd, lockWrite, 1)
	if err == nil && !held {
		return -1
	}
	return pid
}

// lockedAt returns a process other than this one that holds an exclusive lock on any of n bytes of an open file.
func lockedAt(fd int, first, n int64) (pid int, held bool, err error) {
	lock := unix.Flock_t{Type: unix.F_RDLCK, Whence: io.SeekStart, Start: first, Len: n}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_GETLK, &lock); err != nil {
		return 0, false, err
	}
	return max(0, int(lock.Pid)), lock.Type != unix.F_UNLCK, nil
}

// owner returns a process other than this one that holds an exclusive lock on any of the n bytes of a file from first
// on; 0 if it is of another PID namespace. It asks about this process's own descriptor of the file, if there is one:
// while a process reads the list of all locks, nobody on the machine can set any, which a crowd would feel.
func owner(path string, file facts, first, n int64) (pid int, held bool) {
	if fd := descriptorOf(path); fd >= 0 {
		if pid, held, err := lockedAt(fd, first, n); err == nil {
			return pid, held
		}
	}
	for _, l := range others(path, file, first, n) {
		if l.exclusive {
			return l.pid, true
		}
	}
	return 0, false
}

// listings is how often holders reads the list of all locks. The kernel shows the list in parts, and a lock is missing
// if those before it are released in between: in every eighth list, on a machine with hundreds of locks that come and go.
const listings = 8

// holders returns the processes other than this one that hold a lock on any of the n bytes of a file from first on.
// Processes of other PID namespaces are missing.
func holders(path string, file facts, first, n int64) (pids []int) {
	for range listings {
		for _, l := range others(path, file, first, n) {
			if !slices.Contains(pids, l.pid) {
				pids = append(pids, l.pid)
			}
		}
	}
	return pids
}

// others returns the locks of other processes on any of the n bytes of a file from first on.
func others(path string, file facts, first, n int64) (found []lock) {
	locks, err := locksOn(path, file)
	if err != nil {
		return nil
	}
	for _, l := range locks {
		if l.pid != os.Getpid() && l.from < first+n && l.to >= first {
			found = append(found, l)
		}
	}
	return found
}

// nameProcess describes a process for people: its pid, name and host, and whether it is stopped.
func nameProcess(pid int) string {
	if pid <= 0 {
		return "a process in another container"
	}
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	name := fmt.Sprintf("pid %d", pid)
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return name + " on " + host
	}
	begin, end := strings.IndexByte(string(stat), '('), strings.LastIndexByte(string(stat), ')')
	if begin < 0 || end < begin || end+2 >= len(stat) {
		return name + " on " + host
	}
	name += fmt.Sprintf(" (%s) on %s", strings.Trim(strconv.QuoteToASCII(string(stat[begin+1:end])), `"`), host)
	if state := stat[end+2]; state == 'T' || state == 't' {
		name += fmt.Sprintf(", which is stopped: continue it with kill -CONT %d", pid)
	}
	return name
}
