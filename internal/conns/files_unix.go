//go:build unix

package conns

import "syscall"

// openFiles returns how many files this process may have open at once.
func openFiles() (n int64, ok bool) {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0, false
	}
	return int64(min(uint64(limit.Cur), 1<<40)), true
}
