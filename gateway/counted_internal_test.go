package gateway

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/time/rate"

	"github.com/kettubot/kapi/internal/wire"
)

// clientFrame is a frame as a client sends it, masked with zeros.
func clientFrame(first byte, payload string) []byte {
	frame := []byte{first}
	switch n := len(payload); {
	case n < 126:
		frame = append(frame, 0x80|byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), uint64(n))
	}
	return append(append(frame, 0, 0, 0, 0), payload...)
}

// dialRaw returns a client that writes raw frames.
func (b *bench) dialRaw() (net.Conn, *bufio.Reader) {
	b.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(b.url, "ws://"), "/gateway"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, "GET /gateway?v=4 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n\r\n")
	if err != nil {
		b.t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		b.t.Fatal(resp, err)
	}
	return conn, r
}

// nextFrame reads a frame of the server.
func nextFrame(r io.Reader) (first byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(head[1])
	if n == 126 {
		var long [2]byte
		if _, err := io.ReadFull(r, long[:]); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint16(long[:]))
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r, payload)
	return head[0], payload, err
}

// Pings, pongs, empty frames and the fragments of a message are as much work as messages, and count the
// same.
func TestEveryFrameCounts(t *testing.T) {
	b := newBench(t, Options{})
	heartbeat := string(clientFrame(0x81, `{"op":1}`))
	for name, tt := range map[string]struct {
		begin, again string
		answers      int // at most, hello apart
	}{
		"messages":         {"", heartbeat, perMinute},
		"pings":            {"", string(clientFrame(0x89, "")), perMinute},
		"pings of a size":  {"", string(clientFrame(0x89, strings.Repeat("x", 125))), perMinute},
		"pongs":            {"", string(clientFrame(0x8A, "x")), 0},
		"pieces":           {string(clientFrame(0x01, `{"op":`)), string(clientFrame(0x00, " ")), 0},
		"empty pieces":     {string(clientFrame(0x01, "")), string(clientFrame(0x00, "")), 0},
		"pings in between": {string(clientFrame(0x01, `{"op":`)), string(clientFrame(0x89, "")), perMinute},
	} {
		t.Run(name, func(t *testing.T) {
			conn, r := b.dialRaw()
			go func() { _, _ = io.WriteString(conn, tt.begin+strings.Repeat(tt.again, perMinute+1)) }()
			for answers := -1; ; answers++ {
				first, payload, err := nextFrame(r)
				if err != nil {
					t.Fatal(err)
				}
				if first != 0x80|opClose {
					continue
				}
				if code := binary.BigEndian.Uint16(payload); code != uint16(wire.CodeLimit) || answers > tt.answers {
					t.Errorf("closed with %d after %d answers", code, answers)
				}
				break
			}
		})
	}
}

// The closing frame doesn't count: a client that closes in time gets its own code back.
func TestLeavingIsFree(t *testing.T) {
	b := newBench(t, Options{})
	conn, r := b.dialRaw()
	all := bytes.Repeat(clientFrame(0x8A, ""), perMinute)
	if _, err := conn.Write(append(all, clientFrame(0x80|opClose, "\x03\xE8")...)); err != nil {
		t.Fatal(err)
	}
	for {
		first, payload, err := nextFrame(r)
		if err != nil {
			t.Fatal(err)
		}
		if first == 0x80|opClose {
			if code := binary.BigEndian.Uint16(payload); code != 1000 {
				t.Errorf("closed with %d", code)
			}
			return
		}
	}
}

// reads is a connection that can only be read.
type reads struct {
	net.Conn
	r io.Reader
}

func (r reads) Read(p []byte) (int, error) { return r.r.Read(p) }

// Frames are counted however the network splits them, and everything within the limit is passed on.
func TestFramesAreFound(t *testing.T) {
	lengths := []int{0, 1, 125, 126, 127, 128, 65535, 65536, 70_000}
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		var sent []byte
		ends := 10 + random.IntN(perMinute)
		for i := range ends {
			n := random.IntN(10)
			if i%10 == 0 {
				n = lengths[random.IntN(len(lengths))]
			}
			sent = append(sent, clientFrame([]byte{0x81, 0x01, 0x00, 0x89, 0x8A}[random.IntN(5)], strings.Repeat("\x88", n))...)
		}
		early := random.IntN(len(sent) + 1)
		c := newCounted(reads{r: bytes.NewReader(sent[early:])}, sent[:early])
		c.limit = rate.NewLimiter(0, ends)
		var got []byte
		buffer := make([]byte, 1+random.IntN(600))
		for {
			n, err := c.Read(buffer[:1+random.IntN(len(buffer))])
			got = append(got, buffer[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("seed %d: %v after %d bytes", seed, err, len(got))
			}
		}
		if !bytes.Equal(got, sent) {
			t.Fatalf("seed %d: %d bytes of %d", seed, len(got), len(sent))
		}
		c = newCounted(reads{r: strings.NewReader("more")}, append(bytes.Clone(sent), clientFrame(0x81, "one too many")...))
		c.limit = rate.NewLimiter(0, ends)
		got, err := io.ReadAll(struct{ io.Reader }{c})
		if !errors.Is(err, errTooMany) || !bytes.Equal(got, sent) {
			t.Fatalf("seed %d, one more frame: %v after %s", seed, err, fmt.Sprint(len(got), " bytes of ", len(sent)))
		}
	}
}
