//go:build !linux

package nofile

// original isn't known here. Processes that package os starts get the original limit anyway.
var original limits
