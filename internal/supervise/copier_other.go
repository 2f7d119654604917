//go:build !linux

package supervise

// finish does nothing: whoever holds the pipe open counts as a process of the tree.
func (c *copier) finish() {}

func (c *copier) drain([]byte) {}
