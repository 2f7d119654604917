// Package nofile knows the limit of open files that this process was started with. Go's runtime
// raises the soft limit before any code of a program runs, and restores it only in processes that
// package syscall itself executes.
package nofile

// Original returns the soft and the hard limit that this process was started with. ok is false if they
// are not known: on systems other than Linux, or if the system call failed.
func Original() (soft, hard uint64, ok bool) { return original.soft, original.hard, original.known }

type limits struct {
	soft, hard uint64
	known      bool
}
