//go:build !linux

package supervise

// runHelper is for the tests of what only Linux can do.
func runHelper() {}
