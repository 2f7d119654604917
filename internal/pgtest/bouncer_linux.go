package pgtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Bouncer starts a PgBouncer in front of the server and returns its address. It pools transactions over
// the given number of connections, and is stopped when t ends.
func (s *Server) Bouncer(t testing.TB, connections int) string {
	t.Helper()
	program := bouncerProgram(t)
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(s.folder, fmt.Sprintf("bouncer-%d", port))
	config := filepath.Join(folder, "pgbouncer.ini")
	users := filepath.Join(folder, "users")
	text := fmt.Sprintf(`[databases]
* = host=%s port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = trust
auth_file = %s
pool_mode = transaction
max_client_conn = 1000
default_pool_size = %d
logfile = %s
`, s.folder, s.port, port, users, connections, filepath.Join(folder, "log"))
	if err := os.Mkdir(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{config: text, users: `"postgres" ""`} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if s.run.Credential != nil {
		if err := os.Chown(folder, int(s.run.Credential.Uid), int(s.run.Credential.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "-q", config)
	cmd.SysProcAttr, cmd.Dir = s.run, folder
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // immediate shutdown
		_ = cmd.Wait()
	})
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	awaitBouncer(t, address, filepath.Join(folder, "log"))
	return address
}

// awaitBouncer waits until PgBouncer listens at an address.
func awaitBouncer(t testing.TB, address, logFile string) {
	t.Helper()
	for end := time.Now().Add(deadline); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(logFile)
			t.Fatalf("PgBouncer is not ready: %v: %s", err, log)
		}
	}
}

func bouncerProgram(t testing.TB) string {
	t.Helper()
	const debian = "/usr/sbin/pgbouncer" // not on every user's PATH
	if _, err := os.Stat(debian); err == nil {
		return debian
	}
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Fatal("PgBouncer is not installed: the tests need Debian's package pgbouncer (scripts/test-deps)")
	}
	return path
}
