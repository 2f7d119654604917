//go:build linux && !amd64 && !arm64

package supervise

// nest does nothing here: if the threads can't be made, the runtime ends kapi before the command is
// started.
func nest(uintptr) (errno uintptr) { return 0 }
