//go:build !linux

package sqlite

import (
	"errors"
	"fmt"
)

// holders can't find out on this system which processes hold a lock.
func holders(string, facts, int64, int64) []int { return nil }

// owner can't find that out on this system, either.
func owner(string, facts, int64, int64) (pid int, held bool) { return 0, false }

// writer never knows.
func (*openIndex) writer() int { return 0 }

// A lock is a lock that a process holds on a file.
type lock struct{}

// locksOn always fails on this system.
func locksOn(string, facts) ([]lock, error) { return nil, errors.ErrUnsupported }

func nameProcess(pid int) string { return fmt.Sprintf("pid %d", pid) }
