//go:build linux && !amd64 && !arm64

package supervise

// nest is not known here: the runtime tries to make the threads itself, and ends kapi if it can't,
// before the command is started.
func nest(uintptr) (errno uintptr) { return 0 }
