//go:build linux && (amd64 || arm64)

package supervise

// nest makes a chain of n processes, each of which waits for the next (vfork(2)), so that all exist at
// once. It returns the error number of the one that could not be made, or 0. They run on the caller's
// stack. A process changes only the result there, and only once all later processes have ended. Signals
// must be blocked.
//
//go:noescape
func nest(n uintptr) (errno uintptr)
