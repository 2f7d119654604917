//go:build unix

package notify

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A received collects the datagrams that handle was called with.
type received struct {
	mu  sync.Mutex
	all []string
}

func (t *received) add(datagram []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, string(datagram))
}

func send(t *testing.T, address, text string) {
	t.Helper()
	c, err := net.Dial("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool { // Conn.Write doesn't wait for the receiver if the text is empty
		sent = unix.Send(int(fd), []byte(text), 0)
		return !errors.Is(sent, unix.EAGAIN)
	})
	if err := errors.Join(sent, err); err != nil {
		t.Fatal(err)
	}
}

// Datagrams sent before Close are handled and forwarded, in order.
func TestSocket(t *testing.T) {
	var outer, inner received
	manager, err := Listen(nil, "", outer.add)
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	s, err := Listen(nil, manager.Address(), inner.add)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 200 {
		want = append(want, fmt.Sprintf("STATUS=%d", i))
		send(t, s.Address(), want[i])
	}
	want = append(want, "\xff\x00nonsense\n")
	send(t, s.Address(), want[200])
	long := strings.Repeat("x", 100_000)
	send(t, s.Address(), long)
	want = append(want, long[:largest], "", "STATUS=last")
	send(t, s.Address(), "")
	send(t, s.Address(), "STATUS=last")
	s.Close()
	s.Close()
	if !slices.Equal(inner.all, want) {
		t.Errorf("told %q", inner.all)
	}
	manager.Close()
	if !slices.Equal(outer.all, want) {
		t.Errorf("forwarded %q", outer.all)
	}
	if _, err := os.Stat(filepath.Dir(s.Address())); !os.IsNotExist(err) {
		t.Errorf("the folder is left: %v", err)
	}
}

func TestOnlyTheUserCanReachIt(t *testing.T) {
	s, err := Listen(nil, "", func([]byte) {})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if info, err := os.Stat(filepath.Dir(s.Address())); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// kill leaves what a process killed while listening leaves: the folder and the socket, but no lock.
func kill(t *testing.T, s *Socket) {
	t.Helper()
	_ = s.conn.Close()
	<-s.closed
	s.swept.Wait()
	if err := s.folder.lock.Close(); err != nil {
		t.Fatal(err)
	}
}

func listen(t *testing.T) *Socket {
	t.Helper()
	s, err := Listen(nil, "", func([]byte) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// left lists the folder that holds the sockets' folders.
func left(t *testing.T, parent string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A process removes what killed ones have left, but nothing that is in use.
func TestSweep(t *testing.T) {
	parent := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", parent)
	alive := listen(t)
	dead := []*Socket{listen(t), listen(t), listen(t)}
	for _, s := range append(dead, alive) { // before their own sweeps find them
		s.swept.Wait()
	}
	for _, s := range dead {
		kill(t, s)
	}
	if n := len(left(t, parent)); n != 4 {
		t.Fatalf("got %d folders, want 4", n)
	}
	next := listen(t)
	next.swept.Wait()
	want := []string{filepath.Base(alive.folder.path), filepath.Base(next.folder.path)}
	slices.Sort(want)
	if got := left(t, parent); !slices.Equal(got, want) {
		t.Errorf("got %q left, want %q", got, want)
	}
	send(t, alive.Address(), "STATUS=x")
}

// A sweep examines only a few folders, so that a process costs the same however many others there are. Further
// sweeps find the rest.
func TestSweepExaminesFew(t *testing.T) {
	parent := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", parent)
	s := listen(t)
	s.swept.Wait()
	const dead = 10 * few
	for i := range dead {
		if err := os.Mkdir(filepath.Join(parent, locked+strconv.Itoa(i)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for most := dead; most > 0; most -= few {
		s.folder.sweep(nil)
		if n := len(left(t, parent)) - 1; n != most-few {
			t.Fatalf("a sweep of %d folders left %d, want %d", most, n, most-few)
		}
	}
}

// Only folders that are ours beyond doubt are removed.
func TestSweepLeavesOthers(t *testing.T) {
	parent := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", parent)
	outside := t.TempDir()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	folder := func(name string, mode os.FileMode) string {
		path := filepath.Join(parent, name)
		do(os.Mkdir(path, mode))
		return path
	}
	folder("kapi-run-x1", 0o700)         // not a number
	folder("kapi-12", 0o700)             // never locked
	folder("kapi-run-12", 0o755)         // wrong mode
	more := folder("kapi-run-13", 0o700) // holds something else
	do(os.WriteFile(filepath.Join(more, "data"), nil, 0o600))
	file := folder("kapi-run-14", 0o700) // not a socket
	do(os.WriteFile(filepath.Join(file, "notify"), nil, 0o600))
	do(os.Symlink(outside, filepath.Join(parent, "kapi-run-15")))
	do(os.WriteFile(filepath.Join(parent, "kapi-run-16"), nil, 0o700))
	do(unix.Mkfifo(filepath.Join(parent, "kapi-run-17"), 0o700))
	before := left(t, parent)
	folder("kapi-run-18", 0o700) // killed before it made a socket
	s := listen(t)
	s.Close()
	if got := left(t, parent); !slices.Equal(got, before) {
		t.Errorf("got %q left, want %q", got, before)
	}
	for _, path := range []string{more + "/data", file + "/notify", outside} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

// A folder that was swept between its creation and its lock must not be taken for one's own.
func TestLockOfWhatIsGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), locked+"1")
	for _, again := range []bool{false, true} {
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		sweepOne(path)
		if again { // another process picked the same number
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := lockOpened(f); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v, want os.ErrNotExist", err)
		}
		_ = f.Close()
	}
}

// Many processes that begin, sweep and end at once don't disturb each other.
func TestSweepRaces(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	sweeper := listen(t)
	var wg, sweeps sync.WaitGroup
	ended := make(chan struct{})
	sweeps.Go(func() {
		for {
			select {
			case <-ended:
				return
			default:
				sweeper.folder.sweep(ended)
			}
		}
	})
	for range 8 {
		wg.Go(func() {
			for range 50 {
				var got received
				s, err := Listen(nil, "", got.add)
				if err != nil {
					t.Error(err)
					return
				}
				send(t, s.Address(), "STATUS=x")
				s.Close()
				if !slices.Equal(got.all, []string{"STATUS=x"}) {
					t.Errorf("got %q", got.all)
				}
			}
		})
	}
	wg.Wait()
	close(ended)
	sweeps.Wait()
	sweeper.Close()
	if names := left(t, os.Getenv("XDG_RUNTIME_DIR")); len(names) > 0 {
		t.Errorf("got %q left", names)
	}
}

// systemd-notify waits until its message was processed: the descriptor that comes with it must be
// closed, by us or by the manager that it was forwarded to.
func TestSystemdNotify(t *testing.T) {
	program, err := exec.LookPath("systemd-notify")
	if err != nil {
		t.Fatal("systemd-notify is missing: install the package systemd")
	}
	for _, forwarded := range []bool{false, true} {
		var got, outer received
		forward := ""
		if forwarded {
			manager, err := Listen(nil, "", outer.add)
			if err != nil {
				t.Fatal(err)
			}
			defer manager.Close()
			forward = manager.Address()
		}
		s, err := Listen(nil, forward, got.add)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "--status=half way", "X_KAPI_PROGRESS=0.5")
		cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+s.Address())
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		if took := time.Since(began); took > 4*time.Second { // its timeout is 5
			t.Errorf("it took %v", took)
		}
		s.Close()
		if len(got.all) == 0 || got.all[0] != "STATUS=half way\nX_KAPI_PROGRESS=0.5" && got.all[0] != "X_KAPI_PROGRESS=0.5\nSTATUS=half way" {
			t.Errorf("got %q", got.all)
		}
	}
}

// A manager that is gone or never reads must not hold up the command.
func TestForwardingToNobody(t *testing.T) {
	var got received
	s, err := Listen(nil, filepath.Join(t.TempDir(), "nobody"), got.add)
	if err != nil {
		t.Fatal(err)
	}
	send(t, s.Address(), "STATUS=x")
	s.Close()
	if !slices.Equal(got.all, []string{"STATUS=x"}) {
		t.Errorf("got %q", got.all)
	}
}
