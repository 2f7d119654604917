//go:build !linux

package supervise

import "io"

// receiver returns what waits for the next piece, and reads it into buf. Its error is
// os.ErrDeadlineExceeded where scan has set a time for that; any other is the end.
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

// finish waits for the end: whoever holds the pipe open counts as a process of the tree. Here a
// reader of our output that is stuck holds that up, too.
func (c *copier) finish() { <-c.read }

// idle isn't known here.
func (c *copier) idle() bool { return true }
