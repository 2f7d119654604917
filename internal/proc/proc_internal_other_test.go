//go:build !linux

package proc

// loseLeader is for Linux, where a process can outlive its first thread.
func loseLeader() bool { return false }
