package acceptance

import (
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/kapitest"
)

const (
	// In milliseconds. With the short timeout a new cluster is up sooner; with the long one, the nodes
	// don't declare each other dead on a busy machine.
	joiningTimeout = "1000"
	steadyTimeout  = "60000"
)

// A node is one redis-server of a cluster.
type node struct {
	*process
	address string
	id      string
}

// A cluster is a Redis Cluster of real nodes on loopback, without replicas.
type cluster struct {
	t     *testing.T
	nodes []*node
}

func startCluster(t *testing.T, size int) *cluster {
	t.Helper()
	c := &cluster{t: t}
	for range size {
		c.nodes = append(c.nodes, startNode(t))
	}
	args := []string{"create"}
	for _, n := range c.nodes {
		args = append(args, n.address)
	}
	c.mustCLI(append(args, "--cluster-yes")...)
	c.steady()
	return c
}

// grow adds an empty node.
func (c *cluster) grow() *node {
	c.t.Helper()
	n := startNode(c.t)
	c.mustCLI("add-node", n.address, c.nodes[0].address)
	c.nodes = append(c.nodes, n)
	c.steady()
	return n
}

// steady waits until all nodes know each other and serve.
func (c *cluster) steady() {
	c.t.Helper()
	known := fmt.Sprintf("cluster_known_nodes:%d\r\n", len(c.nodes))
	for _, n := range c.nodes {
		kapitest.Eventually(c.t, "the Redis node "+n.address+" serves, with all others", func() bool {
			info := n.ask("CLUSTER", "INFO")
			return strings.Contains(info, "cluster_state:ok\r\n") && strings.Contains(info, known)
		})
	}
	kapitest.Eventually(c.t, "the Redis nodes agree", func() bool { _, code := c.cli("check", c.nodes[0].address); return code == 0 })
	for _, n := range c.nodes {
		n.ask("CONFIG", "SET", "cluster-node-timeout", steadyTimeout)
	}
}

// startNode starts a node, and tries again if another process took its ports.
func startNode(t *testing.T) *node {
	t.Helper()
	for _, program := range []string{"redis-server", "redis-cli"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v: scripts/test-deps installs it", err)
		}
	}
	const attempts = 5
	for range attempts {
		port, bus := freePort(t), freePort(t)
		p := start(t, exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port,
			"--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", joiningTimeout,
			"--dir", t.TempDir(), "--save", "", "--appendonly", "no"))
		log, ready := awaitReady(t, p)
		if ready {
			n := &node{process: p, address: "127.0.0.1:" + port}
			n.id = n.ask("CLUSTER", "MYID")
			return n
		}
		p.wait()
		t.Logf("a redis-server did not start: %s %s", log(), p.stderr)
	}
	t.Fatalf("no redis-server started in %d attempts; version 7 or newer is needed", attempts)
	return nil
}

// awaitReady reads a redis-server's log until it is ready, and continues to read it.
func awaitReady(t *testing.T, p *process) (log func() string, ready bool) {
	t.Helper()
	up := make(chan struct{})
	rest := &kapitest.Output{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		serves := sync.OnceFunc(func() { close(up) })
		for line := range p.lines {
			fmt.Fprintln(rest, line)
			if strings.Contains(line, "Ready to accept connections") {
				serves()
			}
		}
	}()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s:\n%s", p.cmd, rest)
		}
	})
	select {
	case <-up:
		return rest.String, true
	case <-done:
	case <-time.After(kapitest.Patience):
		p.kill()
	}
	return rest.String, false
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// cli runs redis-cli --cluster.
func (c *cluster) cli(args ...string) (out string, code int) {
	c.t.Helper()
	p := start(c.t, exec.Command("redis-cli", append([]string{"--cluster"}, args...)...))
	_ = p.stdin.Close()
	lines := p.gather()
	code = p.wait()
	return strings.Join(lines(), "\n") + p.stderr.String(), code
}

func (c *cluster) mustCLI(args ...string) {
	c.t.Helper()
	if out, code := c.cli(args...); code != 0 {
		c.t.Fatalf("redis-cli --cluster %q exited with %d:\n%s", args, code, out)
	}
}

// slots returns how many hash slots the node believes to have.
func (n *node) slots() (count int) {
	n.t.Helper()
	for line := range strings.Lines(n.ask("CLUSTER", "NODES")) {
		fields := strings.Fields(line)
		const fixed = 8 // fields before the slots
		if len(fields) < fixed || !slices.Contains(strings.Split(fields[2], ","), "myself") {
			continue
		}
		for _, slots := range fields[fixed:] {
			if strings.HasPrefix(slots, "[") {
				continue // being migrated
			}
			from, to, ok := strings.Cut(slots, "-")
			if !ok {
				to = from
			}
			count += n.number(to) - n.number(from) + 1
		}
	}
	return count
}

func (n *node) number(text string) int {
	n.t.Helper()
	number, err := strconv.Atoi(text)
	if err != nil {
		n.t.Fatalf("the Redis node %s returned: %v", n.address, err)
	}
	return number
}
