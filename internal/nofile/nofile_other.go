//go:build !linux

package nofile

// original isn't known here: what package os starts has it all the same.
var original limits
