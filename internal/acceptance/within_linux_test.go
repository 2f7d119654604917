package acceptance

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// limits are what withinMain can do to its process, in the order in which it must be done: first what
// needs privileges.
var limits = []struct {
	name string
	set  func(value string) error
}{
	{"no-ptmx", func(string) error { return hide("/dev/ptmx") }},
	{"no-proc", func(string) error { return cover("/proc") }},
	{"hidepid", hidePIDs},
	{"deny", deny},
	{"user", becomeUser},
	{"nproc", func(n string) error { return limit(unix.RLIMIT_NPROC, n) }},
	{"nofile", func(n string) error { return limit(unix.RLIMIT_NOFILE, n) }},
}

// withinMain executes a program with limits: words like nofile=20, then "--" and the program.
func withinMain(args []string) error {
	// Some limits apply to the thread, which becomes the process.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("this test needs root: unshare the mounts: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	wanted := map[string]string{}
	for len(args) > 0 && args[0] != "--" {
		name, value, _ := strings.Cut(args[0], "=")
		wanted[name] = value
		args = args[1:]
	}
	for _, l := range limits {
		if value, ok := wanted[l.name]; ok {
			if err := l.set(value); err != nil {
				return fmt.Errorf("%s=%s: %w", l.name, value, err)
			}
			delete(wanted, l.name)
		}
	}
	if len(wanted) > 0 {
		return fmt.Errorf("unknown: %v", wanted)
	}
	os.Unsetenv(roleVariable)
	return syscall.Exec(args[1], args[1:], os.Environ())
}

func hide(file string) error { return unix.Mount("/dev/null", file, "", unix.MS_BIND, "") }

func cover(dir string) error { return unix.Mount("none", dir, "tmpfs", 0, "") }

// hidePIDs mounts a /proc that shows only a user's own processes.
func hidePIDs(string) error { return unix.Mount("proc", "/proc", "proc", 0, "hidepid=2") }

// becomeUser takes a user id, which need not belong to anybody.
func becomeUser(uid string) error {
	id, err := strconv.Atoi(uid)
	if err != nil {
		return err
	}
	return errors.Join(syscall.Setgroups(nil), syscall.Setresgid(id, id, id), syscall.Setresuid(id, id, id))
}

func limit(resource int, n string) error {
	most, err := strconv.ParseUint(n, 10, 64)
	if err != nil {
		return err
	}
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: most, Max: most})
}

// deny makes system calls fail, as a sandbox's seccomp profile does. calls has the form CALL:ERRNO,...
func deny(calls string) error {
	const number = 0 // offset of the call's number in struct seccomp_data
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number}}
	for call := range strings.SplitSeq(calls, ",") {
		var nr, errno uint32
		if _, err := fmt.Sscanf(call, "%d:%d", &nr, &errno); err != nil {
			return err
		}
		filter = append(
			filter,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: nr},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | errno},
		)
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}

// refusing returns the argument of deny for some system calls.
func refusing(errno syscall.Errno, calls ...int) string {
	var words []string
	for _, nr := range calls {
		words = append(words, fmt.Sprintf("%d:%d", nr, int(errno)))
	}
	return "deny=" + strings.Join(words, ",")
}
