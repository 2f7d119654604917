//go:build linux && (amd64 || arm64)

package supervise

// nest makes a process that makes a process, and so on, n deep; each waits for the one that it made
// (vfork(2)), so that all are there at once. It returns the error number of the one that could not
// be made, if any. They run on the caller's stack, of which they change nothing but the result,
// and that only when all behind them have ended; signals must be blocked.
//
//go:noescape
func nest(n uintptr) (errno uintptr)
