//go:build !linux

package sqlite

import (
	"errors"
	"os"
)

// There is no queue on this system: a process that wants to write tries again and again.
type places struct{ span }

const queues = false

type span struct{}

func gateSpan(int) span { return span{} }

func openPlaces(*os.File) *places { return nil }

func (*places) take() error { return errors.ErrUnsupported }

func (*places) stand(func()) error { return errors.ErrUnsupported }

func (*places) free() {}

func (*places) step() {}

func (*places) who() (turn, door int64, err error) { return 0, 0, errors.ErrUnsupported }
