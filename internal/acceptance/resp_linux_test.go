package acceptance

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/kettubot/kapi/internal/kapitest"
)

// A reply is a reply in Redis's serialization protocol, RESP: a status, an error, a number or a string.
// The commands used here return nothing else.
type reply struct {
	kind byte // '+', '-', ':' or '$'; 0 if the key does not exist
	text string
}

// talk sends commands to a Redis node, all at once, and then reads its replies.
func talk(address string, commands [][]string) (replies []reply, err error) {
	conn, err := net.DialTimeout("tcp", address, kapitest.Patience)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetDeadline(time.Now().Add(kapitest.Patience)); err != nil {
		return nil, err
	}
	// Redis keeps reading while its replies wait, so all commands may be written first.
	w := bufio.NewWriter(conn)
	for _, command := range commands {
		fmt.Fprintf(w, "*%d\r\n", len(command))
		for _, word := range command {
			fmt.Fprintf(w, "$%d\r\n%s\r\n", len(word), word)
		}
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	r := bufio.NewReader(conn)
	for range commands {
		got, err := readReply(r)
		if err != nil {
			return nil, fmt.Errorf("after %d replies: %w", len(replies), err)
		}
		replies = append(replies, got)
	}
	return replies, nil
}

func readReply(r *bufio.Reader) (reply, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return reply{}, err
	}
	line, ok := strings.CutSuffix(line, "\r\n")
	if !ok || line == "" {
		return reply{}, fmt.Errorf("not RESP: %q", line)
	}
	got := reply{kind: line[0], text: line[1:]}
	switch got.kind {
	case '+', '-', ':':
		return got, nil
	case '$':
	default:
		return reply{}, fmt.Errorf("not RESP, or an unknown type: %q", line)
	}
	size, err := strconv.Atoi(got.text)
	if err != nil {
		return reply{}, err
	}
	if size < 0 {
		return reply{}, nil
	}
	content := make([]byte, size+len("\r\n"))
	_, err = io.ReadFull(r, content)
	got.text = string(content[:size])
	return got, err
}

// ask has a node run one command, which must not fail.
func (n *node) ask(command ...string) string {
	n.t.Helper()
	replies, err := talk(n.address, [][]string{command})
	if err != nil {
		n.t.Fatalf("%q to the Redis node %s: %v", command, n.address, err)
	}
	if replies[0].kind == '-' {
		n.t.Fatalf("%q to the Redis node %s: %s", command, n.address, replies[0].text)
	}
	return replies[0].text
}

// askAll has each command run by the node that has its key: a command that the first node doesn't have
// the key for is sent where that node says.
func (c *cluster) askAll(commands [][]string) []reply {
	c.t.Helper()
	answers := make([]reply, len(commands))
	todo := map[string][]int{}
	for i := range commands {
		todo[c.nodes[0].address] = append(todo[c.nodes[0].address], i)
	}
	const rounds = 5
	for range rounds {
		moved := map[string][]int{}
		for address, indexes := range todo {
			some := make([][]string, len(indexes))
			for n, i := range indexes {
				some[n] = commands[i]
			}
			replies, err := talk(address, some)
			if err != nil {
				c.t.Fatalf("%d commands to the Redis node %s: %v", len(some), address, err)
			}
			for n, i := range indexes {
				answers[i] = replies[n]
				if where := strings.Fields(replies[n].text); replies[n].kind == '-' && len(where) == 3 && where[0] == "MOVED" {
					moved[where[2]] = append(moved[where[2]], i)
				}
			}
		}
		if todo = moved; len(todo) == 0 {
			return answers
		}
	}
	c.t.Fatalf("after %d rounds Redis still redirects: %v", rounds, answers[0])
	return nil
}

const redisKeys = 20_000

func redisKey(i int) string   { return fmt.Sprintf("guild:%d", i) }
func redisValue(i int) string { return fmt.Sprintf("shard %d of %d", i*i, redisKeys) }

func (c *cluster) load() {
	c.t.Helper()
	commands := make([][]string, redisKeys)
	for i := range commands {
		commands[i] = []string{"SET", redisKey(i), redisValue(i)}
	}
	for i, got := range c.askAll(commands) {
		if got.text != "OK" {
			c.t.Fatalf("%q: %s", commands[i], got.text)
		}
	}
}

// audit checks that Redis has every key with its value, each once, and is healthy.
func (c *cluster) audit() {
	c.t.Helper()
	kapitest.Eventually(c.t, "redis-cli --cluster check succeeds", func() bool {
		out, code := c.cli("check", c.nodes[0].address)
		return code == 0 && strings.Contains(out, "All 16384 slots covered")
	})
	commands := make([][]string, redisKeys)
	for i := range commands {
		commands[i] = []string{"GET", redisKey(i)}
	}
	lost := 0
	for i, got := range c.askAll(commands) {
		if got.kind != '$' || got.text != redisValue(i) {
			lost++
			if lost < 10 {
				c.t.Errorf("key %s: want %q, got %q", redisKey(i), redisValue(i), got.text)
			}
		}
	}
	stored := 0
	for _, n := range c.nodes {
		stored += n.number(n.ask("DBSIZE"))
	}
	if lost > 0 || stored != redisKeys {
		c.t.Errorf("of %d keys, %d were lost; the nodes have %d in total", redisKeys, lost, stored)
	}
}
