package sqlite

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
)

// holders returns the processes, other than this one, that hold a lock on some of n bytes of a file,
// from first on; only locks that are exclusive, if so wanted. It reads what the kernel tells of all
// locks, because a descriptor of the file's would have to be closed, which takes this process's own
// locks away. A process of another PID namespace can't be seen there.
func holders(file facts, first, n int64, exclusive bool) (pids []int) {
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return nil
	}
	inode := strconv.FormatUint(file.inode, 10)
	for line := range strings.Lines(string(locks)) {
		// 7: POSIX  ADVISORY  WRITE 4711 08:01:131081 120 120
		f := strings.Fields(line)
		if len(f) != 8 || f[1] != "POSIX" && f[1] != "OFDLCK" || exclusive && f[3] != "WRITE" || !strings.HasSuffix(f[5], ":"+inode) {
			continue // a line with an arrow is of somebody who waits
		}
		from, err := strconv.ParseInt(f[6], 10, 64)
		if err != nil {
			continue
		}
		to, err := strconv.ParseInt(f[7], 10, 64)
		if err != nil {
			to = math.MaxInt64 // EOF
		}
		pid, err := strconv.Atoi(f[4])
		if err != nil || pid == os.Getpid() || from >= first+n || to < first || slices.Contains(pids, pid) {
			continue
		}
		pids = append(pids, pid)
	}
	return pids
}

// nameProcess says which process a pid is, and whether it stands still.
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
		name += fmt.Sprintf(", which is stopped: kill -CONT %d lets it go on", pid)
	}
	return name
}
