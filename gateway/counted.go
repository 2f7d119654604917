package gateway

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/time/rate"
)

// errTooMany is returned when a client has sent too many frames.
var errTooMany = errors.New("too many messages")

// A counted connection counts every frame that the client sends against its limit, including those that the
// library handles itself: pings, pongs and fragments. Only the closing frame, which is the last, is free.
type counted struct {
	net.Conn
	in    io.Reader
	limit *rate.Limiter

	// Used by the reading goroutine only:
	over    bool
	stopped bool     // Read has returned errTooMany
	header  [14]byte // of the current frame (RFC 6455, section 5.2)
	have    int      // bytes of the header read so far
	rest    uint64   // bytes of the payload still to come
}

// newCounted returns conn with its frames counted. early has the bytes that were read from it already.
func newCounted(conn net.Conn, early []byte) *counted {
	return &counted{
		Conn: conn, in: io.MultiReader(bytes.NewReader(bytes.Clone(early)), conn),
		limit: rate.NewLimiter(rate.Every(time.Minute/perMinute), perMinute),
	}
}

// Read implements io.Reader. It returns errTooMany once, before the first frame above the limit. Later calls
// return the rest, which the closing handshake reads and discards: with unread data left, the client would
// get a TCP reset and never learn why.
func (c *counted) Read(p []byte) (int, error) {
	switch {
	case c.stopped:
		return c.in.Read(p)
	case c.over:
		c.stopped = true
		return 0, errTooMany
	}
	n, err := c.in.Read(p)
	paid := c.charge(p[:n])
	if !c.over {
		return n, err
	}
	c.in = io.MultiReader(bytes.NewReader(bytes.Clone(p[paid:n])), c.in)
	if paid > 0 {
		return paid, nil
	}
	c.stopped = true
	return 0, errTooMany
}

// charge counts the frames in data, and returns how many of its bytes are within the limit.
func (c *counted) charge(data []byte) int {
	for i := 0; i < len(data); {
		if c.rest > 0 {
			skip := min(c.rest, uint64(len(data)-i))
			c.rest -= skip
			i += int(skip)
			continue
		}
		if c.have == 0 && data[i]&0x0F != opClose && !c.limit.Allow() {
			c.over = true
			return i
		}
		c.header[c.have] = data[i]
		c.have++
		i++
		c.headed()
	}
	return len(data)
}

const opClose = 8

// headed reads the length of the payload from the header, if that is complete.
func (c *counted) headed() {
	if c.have < 2 {
		return
	}
	size, length := 2, uint64(c.header[1]&0x7F)
	switch length {
	case 126:
		size = 4
	case 127:
		size = 10
	}
	masked := c.header[1]&0x80 != 0
	if masked {
		size += 4
	}
	if c.have < size {
		return
	}
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(c.header[2:]))
	case 127:
		length = binary.BigEndian.Uint64(c.header[2:])
	}
	c.have, c.rest = 0, length
}
