//go:build unix

// Package notify receives what a command says through systemd's notify protocol (sd_notify(3)):
// datagrams on a socket that only the same user and root can reach.
//
// The socket is a file in a folder of its own, with mode 0700, that is removed at the end. The protocol
// also has abstract sockets, which leave nothing behind, but every user in the network namespace can
// send to one. The credentials of a datagram tell who sent it only after it has taken one of the few
// places in the queue, so anybody could keep the command from being heard. Besides, a program that the
// command runs may not support them (a script with socat or Perl), or may run in a container with a
// network of its own, into which a file can be mounted.
//
// A killed process leaves its folder behind. So each process holds a lock (flock(2)) on its folder,
// which ends with the process in any case, and removes the unlocked folders beside its own. Unlike a
// pid in the name, that is reliable across containers that share the file system, and when pids are
// reused.
package notify

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi/internal/fault"
)

const (
	// largest is more than any datagram of the protocol.
	largest = 64 << 10
	// aside is room for the descriptors that come with a datagram.
	aside = 4 << 10
	// drainWithin limits how long Close waits until datagrams sent before it have been read.
	drainWithin = time.Second
	// forwardWithin limits the wait for a service manager that doesn't read.
	forwardWithin = time.Second
)

// A Socket receives datagrams.
type Socket struct {
	folder folder
	conn   *net.UnixConn
	outer  *net.UnixConn // nil: nothing is forwarded
	handle func([]byte)
	marker []byte // sent by Close to its own socket, after everything else
	closed chan struct{}
	once   sync.Once

	swept     sync.WaitGroup
	stopSweep chan struct{}
}

// Listen makes a socket and calls handle with each datagram, from one goroutine, until Close. The slice
// is valid only during the call. Each datagram is also forwarded, with its descriptors, to forward, an
// address as in NOTIFY_SOCKET; "" is none. If handle panics and faults catches that, only this datagram
// is lost.
func Listen(faults *fault.Net, forward string, handle func([]byte)) (*Socket, error) {
	s := &Socket{handle: handle, closed: make(chan struct{}), stopSweep: make(chan struct{}), marker: []byte(rand.Text())}
	if err := s.listen(); err != nil {
		return nil, fmt.Errorf("make a notify socket: %w", err)
	}
	if forward != "" {
		// A manager that is gone gets nothing.
		s.outer, _ = net.DialUnix("unixgram", nil, &net.UnixAddr{Name: forward, Net: "unixgram"})
	}
	go func() {
		defer close(s.closed)
		faults.Keep(s.read)
	}()
	faults.Go(&s.swept, func() { s.folder.sweep(s.stopSweep) })
	return s, nil
}

func (s *Socket) listen() (err error) {
	for _, parent := range []string{os.Getenv("XDG_RUNTIME_DIR"), os.TempDir(), "/tmp"} {
		if !filepath.IsAbs(parent) || len(parent) > longestParent {
			continue
		}
		if s.folder, err = makeFolder(parent); err != nil {
			continue
		}
		s.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.Address(), Net: "unixgram"})
		if err == nil {
			return nil
		}
		s.folder.remove()
	}
	if err == nil {
		err = errors.New("the path of every folder for temporary files is too long for a socket")
	}
	return err
}

// Address returns the value of NOTIFY_SOCKET for the command.
func (s *Socket) Address() string { return filepath.Join(s.folder.path, name) }

func (s *Socket) read() {
	buf, oob := make([]byte, largest), make([]byte, aside)
	if s.outer == nil {
		oob = nil // the kernel closes any descriptors
	}
	for {
		n, oobn, _, _, err := s.conn.ReadMsgUnix(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of memory, for example
			continue
		}
		if bytes.Equal(buf[:n], s.marker) {
			return
		}
		if s.outer != nil {
			s.forward(buf[:n], oob[:oobn])
		}
		s.handle(buf[:n])
	}
}

// forward sends a datagram on. It gives up on a manager that doesn't read.
func (s *Socket) forward(datagram, oob []byte) {
	_ = s.outer.SetWriteDeadline(time.Now().Add(forwardWithin))
	rights := rightsOf(oob)
	if raw, err := s.outer.SyscallConn(); err == nil { // WriteMsgUnix refuses connected sockets
		_ = raw.Write(func(fd uintptr) bool {
			return !errors.Is(unix.Sendmsg(int(fd), datagram, rights, nil, 0), unix.EAGAIN)
		})
	}
	for _, fd := range descriptors(oob) {
		_ = unix.Close(fd)
	}
}

// rightsOf keeps only the descriptors: the credentials are the sender's, and this process can't send as
// another.
func rightsOf(oob []byte) []byte {
	if fds := descriptors(oob); len(fds) > 0 {
		return unix.UnixRights(fds...)
	}
	return nil
}

func descriptors(oob []byte) (fds []int) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range messages {
		if some, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, some...)
		}
	}
	return fds
}

// Close removes the socket. It first waits until all datagrams sent before have been handled, for a
// second at most.
func (s *Socket) Close() {
	s.once.Do(func() {
		if self, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.Address(), Net: "unixgram"}); err == nil {
			_ = self.SetWriteDeadline(time.Now().Add(drainWithin))
			if _, err := self.Write(s.marker); err == nil {
				select {
				case <-s.closed:
				case <-time.After(drainWithin):
				}
			}
			_ = self.Close()
		}
		_ = s.conn.Close()
		<-s.closed
		if s.outer != nil {
			_ = s.outer.Close()
		}
		close(s.stopSweep)
		s.swept.Wait()
		s.folder.remove()
	})
}
