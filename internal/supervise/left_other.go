//go:build !linux

package supervise

// notifyLeft does nothing: a command's processes are not tracked here.
func (t *Tree) notifyLeft() {}

// Unseen returns nil: on these systems only the command itself is ever signalled.
func Unseen() error { return nil }
