//go:build unix && !linux

package supervise

import (
	"os"

	"golang.org/x/sys/unix"
)

const (
	getModes = unix.TIOCGETA
	setModes = unix.TIOCSETA
)

func widen(*os.File) {}
