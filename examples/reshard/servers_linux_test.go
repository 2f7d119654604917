package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A server is a real redis-server on loopback. Its methods end the test if they fail.
type server struct {
	t      *testing.T
	folder string
	addr   string // host:port
	flags  []string
	// password is that of the flag --requirepass.
	password string
	cmd      *exec.Cmd
	ended    chan struct{} // closed when the process has ended
	*redis.Client
	id string
}

// startServer starts a master without slots. It is killed when the test ends.
func startServer(t *testing.T, flags ...string) *server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("redis-server is missing: install it (on Debian: apt-get install redis-server), or run scripts/test-deps")
	}
	s := &server{t: t, folder: t.TempDir(), flags: flags}
	if i := slices.Index(flags, "--requirepass"); i >= 0 {
		s.password = flags[i+1]
	}
	for range 5 { // somebody else may take the ports before it does
		port, bus := freePort(t), freePort(t)
		s.addr = "127.0.0.1:" + port
		s.flags = append([]string{
			"--port", port, "--cluster-port", bus, "--bind", "127.0.0.1", "--dir", s.folder, "--cluster-enabled", "yes",
			"--cluster-node-timeout", "20000", "--save", "", "--logfile", filepath.Join(s.folder, "log"),
		}, flags...)
		if s.run() {
			return s
		}
	}
	log, _ := os.ReadFile(filepath.Join(s.folder, "log"))
	t.Fatalf("redis-server doesn't start:\n%s", log)
	return nil
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// run starts the process and waits until it answers.
func (s *server) run() bool {
	s.cmd = exec.Command("redis-server", s.flags...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended, cmd := make(chan struct{}), s.cmd
	go func() { _ = cmd.Wait(); close(ended) }()
	s.ended = ended
	s.Client = redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1, ReadTimeout: 20 * time.Second, Password: s.password})
	client := s.Client
	s.t.Cleanup(func() { client.Close(); _ = cmd.Process.Kill(); <-ended })
	for range 200 {
		if id, err := s.Do(context.Background(), "cluster", "myid").Text(); err == nil {
			s.id = id
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

// restart kills the process and starts another one with its files.
func (s *server) restart() {
	s.t.Helper()
	s.signal(syscall.SIGKILL)
	<-s.ended
	if !s.run() {
		s.t.Fatal("redis-server doesn't start again")
	}
}

// must sends a command that has to succeed.
func (s *server) must(args ...any) any {
	s.t.Helper()
	answer, err := s.Do(context.Background(), args...).Result()
	if err != nil {
		s.t.Fatalf("%s: %v: %v", s.addr, args, err)
	}
	return answer
}

func (s *server) signal(signal syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) view() *view {
	s.t.Helper()
	v, err := parseView(s.ClusterNodes(context.Background()).Val(), s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

func (s *server) keysIn(slot int) int64 {
	return s.ClusterCountKeysInSlot(context.Background(), slot).Val()
}

// startCluster starts three masters. The first has the slots 0 to 5499.
func startCluster(t *testing.T, flags ...string) [3]*server {
	t.Helper()
	var all [3]*server
	for i := range all {
		all[i] = startServer(t, flags...)
	}
	for i, slots := range [][2]int{{0, 5499}, {5500, 10999}, {11000, slotCount - 1}} {
		s := all[i]
		s.must("cluster", "set-config-epoch", i+1)
		s.must("cluster", "addslotsrange", slots[0], slots[1])
		if i > 0 {
			host, port, _ := splitAddr(all[0].addr)
			s.must("cluster", "meet", host, port, all[0].flags[3])
		}
	}
	for _, s := range all {
		eventually(t, 20*time.Second, func() error {
			v := s.view()
			for slot, owner := range v.owner {
				if owner == nil {
					return fmt.Errorf("%s knows no owner of slot %d", s.addr, slot)
				}
			}
			if info := s.ClusterInfo(context.Background()).Val(); parseInfo(info)["cluster_state"] != "ok" {
				return fmt.Errorf("%s: %s", s.addr, info)
			}
			return nil
		})
	}
	return all
}

// eventually polls until f succeeds.
func eventually(t *testing.T, within time.Duration, f func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still so after %v: %v", within, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
