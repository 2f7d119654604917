// Package nofile knows the limit of open files that this process was started with. Go's runtime
// raises the soft one before any code of a program runs, and gives the old one back only to
// processes that package syscall itself executes.
package nofile

// Original returns the limit that this process was started with: the soft and the hard one. It is
// false where they are not known: on systems other than Linux, or where the kernel didn't say.
func Original() (soft, hard uint64, ok bool) { return original.soft, original.hard, original.known }

type limits struct {
	soft, hard uint64
	known      bool
}
