//go:build !linux

package sqlite

import (
	"errors"
	"fmt"
)

// holders can't tell on this system who holds a lock.
func holders(string, facts, int64, int64, bool) []int { return nil }

// lockedHere can't tell either.
func lockedHere(string, facts) (bool, error) { return false, errors.ErrUnsupported }

func nameProcess(pid int) string { return fmt.Sprintf("pid %d", pid) }
