package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// deadline bounds every wait.
const deadline = 30 * time.Second

// Options says what kind of server to start.
type Options struct {
	// Durable makes the server sync to disk, as real servers do. Without it, it is faster.
	Durable bool
	// TCP makes it also listen on the loopback address.
	TCP bool
	// Folder is where the data goes; empty means the system's temporary folder.
	Folder string
	// Settings are added to postgresql.conf.
	Settings map[string]string
}

// A Server is a PostgreSQL server that nothing else uses.
type Server struct {
	options Options
	bin     string
	folder  string
	port    int
	run     *syscall.SysProcAttr
	cmd     *exec.Cmd
	ended   chan struct{} // closed when cmd has ended
	number  atomic.Int64  // of databases created
}

// For starts a server that is stopped with t.
func For(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// New starts a server. If a program is missing, the error says how to install it.
func New(o Options) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	s := &Server{options: o, bin: bin, port: 5432}
	if s.run, err = attributes(); err != nil {
		return nil, err
	}
	if s.folder, err = s.makeFolder(); err != nil {
		return nil, err
	}
	if err := s.initialise(); err != nil {
		s.remove()
		return nil, err
	}
	if err := s.Start(); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// programs returns the folder of initdb and postgres: the newest of Debian's, or that on PATH.
func programs() (string, error) {
	all, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	slices.SortFunc(all, func(a, b string) int { return version(a) - version(b) })
	if len(all) > 0 {
		return filepath.Dir(all[len(all)-1]), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("no PostgreSQL is installed: the tests need Debian's package postgresql (scripts/test-deps)")
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	return filepath.Dir(path), nil
}

func version(path string) int {
	n, _ := strconv.Atoi(strings.Split(path, "/")[4])
	return n
}

// attributes makes a process end with this one, and run as another user than root, which PostgreSQL
// refuses.
func attributes() (*syscall.SysProcAttr, error) {
	attributes := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT, Setpgid: true} // Ctrl-C is for the test alone
	if os.Getuid() != 0 {
		return attributes, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL can't run as root, and there is no user for it: %w", err)
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attributes, nil
}

// makeFolder makes a folder that the server's user can reach. Its name is short, as a socket's path may
// have 107 bytes. It removes folders that killed tests have left.
func (s *Server) makeFolder() (string, error) {
	under := s.options.Folder
	if under == "" {
		under = os.TempDir()
	}
	left, _ := filepath.Glob(filepath.Join(under, "kapipg-*"))
	for _, folder := range left {
		pid, err := strconv.Atoi(strings.Split(filepath.Base(folder), "-")[1])
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(folder)
		}
	}
	folder, err := os.MkdirTemp(under, fmt.Sprintf("kapipg-%d-", os.Getpid()))
	if err == nil && s.run.Credential != nil {
		err = os.Chown(folder, int(s.run.Credential.Uid), int(s.run.Credential.Gid))
	}
	return folder, err
}

func (s *Server) data() string { return filepath.Join(s.folder, "data") }

func (s *Server) initialise() error {
	cmd := s.command("initdb", "--pgdata", s.data(), "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.SysProcAttr, cmd.Dir = s.run, s.folder
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	return cmd
}

// Start starts the server again after Kill or Halt.
func (s *Server) Start() error {
	settings := map[string]string{
		"listen_addresses": "", "unix_socket_directories": s.folder, "fsync": "off",
		"shared_buffers": "32MB", "log_min_messages": "log",
	}
	if s.options.Durable {
		settings["fsync"] = "on"
	}
	if s.options.TCP {
		settings["listen_addresses"] = "127.0.0.1"
		if s.port == 5432 {
			var err error
			if s.port, err = freePort(); err != nil {
				return err
			}
		}
	}
	for name, value := range s.options.Settings {
		settings[name] = value
	}
	args := []string{"-D", s.data(), "-p", strconv.Itoa(s.port)}
	for name, value := range settings {
		args = append(args, "-c", name+"="+value)
	}
	log, err := os.OpenFile(filepath.Join(s.folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = s.command("postgres", args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	s.ended = ended
	go func() {
		_ = s.cmd.Wait()
		close(ended)
	}()
	return s.await()
}

func freePort() (int, error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return free.Addr().(*net.TCPAddr).Port, free.Close()
}

// await waits until the server accepts connections.
func (s *Server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		conn, err := pgx.Connect(ctx, s.DSN("postgres"))
		if err == nil {
			tick.Stop()
			return conn.Close(ctx)
		}
		select {
		case <-tick.C:
		case <-s.ended:
			return fmt.Errorf("the server ended: %s", s.Log())
		case <-ctx.Done():
			return fmt.Errorf("the server is not ready: %w: %s", err, s.Log())
		}
	}
}

// Log returns what the server has logged.
func (s *Server) Log() string {
	data, _ := os.ReadFile(filepath.Join(s.folder, "log"))
	return string(bytes.TrimSpace(data))
}

// PID returns the pid of the server's main process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// DSN names a database of the server, reached over its socket.
func (s *Server) DSN(database string) string {
	return fmt.Sprintf("postgres://postgres@/%s?host=%s&port=%d", database, s.folder, s.port)
}

// Address returns the TCP address; only with Options.TCP.
func (s *Server) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Database creates an empty database, which is dropped when t ends, and returns its name. Tests may run
// in parallel.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test%d", s.number.Add(1))
	s.Exec(t, "postgres", "CREATE DATABASE "+name)
	t.Cleanup(func() { s.Exec(t, "postgres", "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })
	return name
}

// Exec runs statements, separated by semicolons, in a database as the superuser.
func (s *Server) Exec(t testing.TB, database, statements string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	for statement := range strings.SplitSeq(statements, ";") { // each in a transaction of its own
		if _, err := conn.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// Query reads one row from a database, as the superuser.
func (s *Server) Query(t testing.TB, database, query string, values ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, query).Scan(values...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}
