package postgres

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// limitUnacknowledged makes the kernel close a connection whose other end acknowledges nothing for deadAfter.
func limitUnacknowledged(_, _ string, raw syscall.RawConn) error {
	var err error
	if control := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadAfter.Milliseconds()))
	}); control != nil {
		return control
	}
	if err == unix.EOPNOTSUPP || err == unix.ENOPROTOOPT { // a unix socket
		return nil
	}
	return err
}
