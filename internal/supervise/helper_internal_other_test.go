//go:build !linux

package supervise

// runHelper does nothing: all roles need Linux.
func runHelper() {}
