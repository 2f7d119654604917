//go:build unix

package supervise

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// writeAll writes all of p, however long that takes. Another process that shares the file (a terminal,
// or a shell's pipe) may make it non-blocking at any time. os.File can't be used, as it decides when it
// is opened whether it can wait.
func writeAll(f *os.File, p []byte) error {
	fd := int(descriptor(f))
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			// The next write reports errors.
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
			continue
		}
		if err := full(n, err); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// Takes says whether a file would accept a line right now without blocking.
func Takes(f *os.File) bool {
	poll := []unix.PollFd{{Fd: int32(descriptor(f)), Events: unix.POLLOUT}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0
}
