//go:build !linux

package supervise

import "runtime"

// Reserve has nothing to create on these systems. As on Linux, one thread at a time runs Go code from now on.
func Reserve(string) (wait func() error) {
	runtime.GOMAXPROCS(1)
	return func() error { return nil }
}
