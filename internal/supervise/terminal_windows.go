package supervise

import (
	"errors"
	"os"
)

// HasTerminals says whether the system has pseudo-terminals.
const HasTerminals = false

// A terminal is never made on Windows, which has pseudo-terminals only for a whole console.
type terminal struct{ master, slave *os.File }

func openTerminal(*os.File) (*terminal, error) {
	return nil, errors.New("not supported on Windows")
}

func (t *terminal) stands() bool { return false }
func (t *terminal) resize() bool { return false }
func (t *terminal) mirror()      {}
func (t *terminal) release()     {}
func (t *terminal) take()        {}

func widen(*os.File) {}

func descriptor(f *os.File) uintptr { return f.Fd() }
