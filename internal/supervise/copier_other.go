//go:build !linux

package supervise

import "io"

// receiver returns a function that reads the next piece into buf. The function's error is
// os.ErrDeadlineExceeded when a deadline set by scan has passed; any other error is the end.
func (c *copier) receiver(buf []byte) func() ([]byte, error) {
	return func() ([]byte, error) {
		n, err := c.from.Read(buf)
		if n == 0 && err == nil {
			err = io.EOF
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.pending = buf[:n]
		return c.pending, err
	}
}

// finish waits for end of file: any process that holds the pipe open counts as part of the tree. On
// these systems a stuck reader of our output blocks it too.
func (c *copier) finish() { <-c.read }

// idle always returns true: it isn't known on these systems.
func (c *copier) idle() bool { return true }
