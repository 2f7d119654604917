package bench

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// readers plays many clients, as cheaply as possible, so that the servers are what is measured. It
// reads commands from stdin: "connect ADDRESS KIND COUNT", where KIND tcp means no handshake, and
// "expect COUNT", the number of updates that each connection will get. It then prints how long they
// took to arrive, in ms: p50, p99, the maximum; and the bytes of one update.
func readers() error {
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	all := &audience{}
	for in.Scan() {
		words := strings.Fields(in.Text())
		n, err := strconv.Atoi(words[len(words)-1])
		if err != nil {
			return err
		}
		switch words[0] {
		case "connect":
			if err := all.connect(words[1], words[2], n); err != nil {
				return err
			}
			fmt.Println("connected")
		case "expect":
			all.expect(n)
			fmt.Println("expects")
			if err := all.printLatencies(); err != nil {
				return err
			}
		}
	}
	return in.Err()
}

// An audience is many connections to one server.
type audience struct {
	size  int
	bytes atomic.Int64
	took  []int64 // in ns
	next  atomic.Int64
	done  chan struct{}
	lost  atomic.Pointer[error]
}

// heartbeats is an interval shorter than the gateway's 45 seconds.
const heartbeats = 25 * time.Second

func (a *audience) connect(address, kind string, n int) error {
	const atOnce = 64
	errs := make(chan error)
	turn := make(chan struct{}, atOnce)
	for i := range n {
		go func() {
			turn <- struct{}{}
			conn, r, err := open(address, kind)
			<-turn
			errs <- err
			if err == nil {
				go beat(conn, kind, time.Duration(i)*heartbeats/time.Duration(n))
				err = a.follow(r)
				a.lost.Store(&err)
			}
		}()
	}
	var failed error
	for range n {
		failed = errors.Join(failed, <-errs)
	}
	a.size = n
	return failed
}

func open(address, kind string) (net.Conn, *bufio.Reader, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	r := bufio.NewReaderSize(conn, 1024)
	if kind != "tcp" {
		_, err := fmt.Fprintf(conn, "GET /v4/gateway?v=4&encoding=json HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n\r\n", address)
		if err != nil {
			return nil, nil, err
		}
		answer, err := http.ReadResponse(r, nil)
		if err != nil {
			return nil, nil, err
		}
		if answer.StatusCode != http.StatusSwitchingProtocols {
			return nil, nil, errors.New(answer.Status)
		}
	}
	if _, err := conn.Write(masked(`{"op":4,"d":{"token":"` + benchToken + `","intents":64,"properties":{}}}`)); err != nil {
		return nil, nil, err
	}
	for {
		frame, err := readFrame(r, nil)
		if err != nil {
			return nil, nil, err
		}
		if bytes.Contains(frame, []byte(`"READY"`)) {
			return conn, r, nil
		}
	}
}

// masked returns a short message framed as a client sends it; a mask of zeros changes nothing.
func masked(text string) []byte {
	return append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
}

func beat(conn net.Conn, kind string, first time.Duration) {
	if kind != "gateway" {
		return
	}
	for time.Sleep(first); ; time.Sleep(heartbeats) {
		if _, err := conn.Write(masked(`{"op":1,"d":0}`)); err != nil {
			return
		}
	}
}

func readFrame(r *bufio.Reader, into []byte) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return nil, err
	}
	size := int(head[1])
	if size == 126 {
		if _, err := io.ReadFull(r, head[2:]); err != nil {
			return nil, err
		}
		size = int(binary.BigEndian.Uint16(head[2:]))
	}
	if head[0] != 0x81 || size > 64<<10 {
		return nil, fmt.Errorf("a frame begins with % x", head)
	}
	if cap(into) < size {
		into = make([]byte, size)
	}
	_, err := io.ReadFull(r, into[:size])
	return into[:size], err
}

func (a *audience) follow(r *bufio.Reader) error {
	var buffer []byte
	for {
		frame, err := readFrame(r, buffer)
		if err != nil {
			return err
		}
		buffer = frame
		i := bytes.Index(frame, []byte(stamp))
		if i < 0 {
			continue // the answer to a heartbeat
		}
		now := time.Now().UnixNano()
		var at int64
		for _, c := range frame[i+len(stamp):] {
			if c < '0' || c > '9' {
				break
			}
			at = 10*at + int64(c-'0')
		}
		a.bytes.Store(int64(len(frame)))
		n := a.next.Add(1)
		a.took[n-1] = now - at
		if int(n) == len(a.took) {
			close(a.done)
		}
	}
}

// expect must not be called while updates are arriving.
func (a *audience) expect(updates int) {
	a.took = make([]int64, a.size*updates)
	a.done = make(chan struct{})
	a.next.Store(0)
}

func (a *audience) printLatencies() error {
	select {
	case <-a.done:
	case <-time.After(time.Minute):
		err := errors.New("and no connection has ended")
		if lost := a.lost.Load(); lost != nil {
			err = *lost
		}
		return fmt.Errorf("%d of %d updates came; %w", a.next.Load(), len(a.took), err)
	}
	ms := make([]float64, len(a.took))
	for i, ns := range a.took {
		ms[i] = float64(ns) / 1e6
	}
	fmt.Println(quantile(ms, 0.5), quantile(ms, 0.99), quantile(ms, 1), a.bytes.Load())
	return nil
}
