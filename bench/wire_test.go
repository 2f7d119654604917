package bench

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// A wire is a connection to a server that counts the bytes and turns on it.
type wire struct {
	folder          string
	up, down, turns atomic.Int64
}

// tap makes a wire to the server of a DSN that names a socket.
func tap(b *testing.B, dsn string) *wire {
	server, err := url.Parse(dsn)
	if err != nil {
		b.Fatal(err)
	}
	socket := filepath.Join(server.Query().Get("host"), ".s.PGSQL."+server.Query().Get("port"))
	folder, err := os.MkdirTemp("", "tap") // a socket's path must be short
	if err != nil {
		b.Fatal(err)
	}
	w := &wire{folder: folder}
	listener, err := net.Listen("unix", filepath.Join(folder, ".s.PGSQL.5432"))
	if err != nil {
		b.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			served.Go(func() { w.carry(conn, socket) })
		}
	})
	b.Cleanup(func() {
		_ = listener.Close()
		served.Wait()
		_ = os.RemoveAll(folder)
	})
	return w
}

func (w *wire) dsn(database string) string {
	return fmt.Sprintf("postgres://postgres@/%s?host=%s", database, w.folder)
}

func (w *wire) carry(conn net.Conn, server string) {
	defer conn.Close()
	other, err := net.Dial("unix", server)
	if err != nil {
		return
	}
	var asked atomic.Bool // the last bytes went to the server
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(conn, counting{other, func(n int) {
			w.down.Add(int64(n))
			asked.Store(false)
		}})
		_ = conn.Close()
	})
	_, _ = io.Copy(other, counting{conn, func(n int) {
		w.up.Add(int64(n))
		if !asked.Swap(true) {
			w.turns.Add(1)
		}
	}})
	_ = other.Close()
	back.Wait()
}

// A counting reader counts the bytes that it reads.
type counting struct {
	io.Reader
	count func(n int)
}

func (c counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.count(n)
	return n, err
}
