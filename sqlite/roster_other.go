//go:build !linux

package sqlite

import (
	"errors"
	"os"
)

const haveSlots = false

// This system has no open file description locks, so no runner has a slot.

const (
	lockAlone, lockShares, lockNone int16 = 0, 1, 2
)

func lockByte(*os.File, int64, int16) error { return errors.ErrUnsupported }

func byteLocked(*os.File, int64) (bool, error) { return false, errors.ErrUnsupported }

func identityOf(*os.File, []byte) (int64, error) { return 0, errors.ErrUnsupported }

func locksElsewhere(*os.File) (bool, error) { return false, errors.ErrUnsupported }

func factsOfFile(*os.File) (facts, error) { return facts{}, errors.ErrUnsupported }

func keepForGood(*os.File) {}

func (*slotFile) openShared(string) (*os.File, error) { return nil, errors.ErrUnsupported }
