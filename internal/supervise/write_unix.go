//go:build unix

package supervise

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// writeAll writes all of p, however long that takes. Whoever shares the file with us (a terminal,
// or a pipe of a shell's) may make it non-blocking at any time, and so for us, too. The file itself
// is not used: it decided at its opening whether it can wait.
func writeAll(f *os.File, p []byte) error {
	fd := int(descriptor(f))
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			// An error of the file is told by the next write.
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

// Takes says whether a file would take a line right now, without making its writer wait.
func Takes(f *os.File) bool {
	poll := []unix.PollFd{{Fd: int32(descriptor(f)), Events: unix.POLLOUT}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0
}
