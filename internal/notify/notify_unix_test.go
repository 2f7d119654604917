//go:build unix

package notify

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A told is what was told.
type told struct {
	mu  sync.Mutex
	all []string
}

func (t *told) add(datagram []byte) {
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
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// What was sent before Close is told, and forwarded, and in order.
func TestSocket(t *testing.T) {
	var outer, inner told
	manager, err := Listen("", outer.add)
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	s, err := Listen(manager.Address(), inner.add)
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
	s, err := Listen("", func([]byte) {})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if info, err := os.Stat(filepath.Dir(s.Address())); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// systemd's own program waits until its message was taken: the descriptor that goes with it
// must be closed, by us or by whom it was forwarded to.
func TestSystemdNotify(t *testing.T) {
	program, err := exec.LookPath("systemd-notify")
	if err != nil {
		t.Fatal("systemd-notify is missing: install the package systemd")
	}
	for _, forwarded := range []bool{false, true} {
		var got, outer told
		forward := ""
		if forwarded {
			manager, err := Listen("", outer.add)
			if err != nil {
				t.Fatal(err)
			}
			defer manager.Close()
			forward = manager.Address()
		}
		s, err := Listen(forward, got.add)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "--status=half way", "X_KAPI_PROGRESS=0.5")
		cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+s.Address())
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		if took := time.Since(began); took > 4*time.Second { // its patience is 5
			t.Errorf("it waited for %v", took)
		}
		s.Close()
		if len(got.all) == 0 || got.all[0] != "STATUS=half way\nX_KAPI_PROGRESS=0.5" && got.all[0] != "X_KAPI_PROGRESS=0.5\nSTATUS=half way" {
			t.Errorf("got %q", got.all)
		}
	}
}

// A manager that has gone, or never reads, must not hold up the command.
func TestForwardingToNobody(t *testing.T) {
	var got told
	s, err := Listen(filepath.Join(t.TempDir(), "nobody"), got.add)
	if err != nil {
		t.Fatal(err)
	}
	send(t, s.Address(), "STATUS=x")
	s.Close()
	if !slices.Equal(got.all, []string{"STATUS=x"}) {
		t.Errorf("got %q", got.all)
	}
}
