//go:build !linux

package sqlite

import (
	"errors"
	"fmt"
)

// holders can't tell on this system who holds a lock.
func holders(string, facts, int64, int64, bool) []int { return nil }

// A lock is one of another process's.
type lock struct{}

// locksOn can't tell either.
func locksOn(string, facts) ([]lock, error) { return nil, errors.ErrUnsupported }

func nameProcess(pid int) string { return fmt.Sprintf("pid %d", pid) }
