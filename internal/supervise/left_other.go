//go:build !linux

package supervise

// notifyLeft does nothing: what a command starts is not known here.
func (t *Tree) notifyLeft() {}

// Unseen returns nil: on these systems only the command itself is ever signalled.
func Unseen() error { return nil }
