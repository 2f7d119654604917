package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A view is the cluster as one of its nodes sees it. Nodes tell each other what changes, so two views may differ for
// a while; the view of a slot's owner is the one that decides how its clients are served.
type view struct {
	self  *node
	nodes []*node // by id
	owner [slotCount]*node
	open  []open // those of the node itself: nobody else sees them
}

// A node is one of a cluster, as another sees it.
type node struct {
	id, host, port string
	flags          []string // such as myself, master, slave, fail?, fail, noaddr
}

// An open slot is on its way from or to the node.
type open struct {
	slot      int
	importing bool   // or else migrating
	peer      string // the id of the node at the other end
}

func (n *node) is(flag string) bool { return slices.Contains(n.flags, flag) }
func (n *node) addr() string        { return joinAddr(n.host, n.port) }
func (n *node) String() string      { return n.addr() + " (" + short(n.id) + ")" }

// short returns the first characters of a node's id, which tell it from the others.
func short(id string) string { return id[:min(len(id), 8)] }

// find returns the node with an id or address, or nil.
func (v *view) find(idOrAddr string) *node {
	for _, n := range v.nodes {
		if n.id == idOrAddr || n.addr() == idOrAddr {
			return n
		}
	}
	return nil
}

// openOf returns the open state of a slot at the node itself, or nil.
func (v *view) openOf(slot int) *open {
	for i := range v.open {
		if v.open[i].slot == slot {
			return &v.open[i]
		}
	}
	return nil
}

// parseView parses the answer to CLUSTER NODES (https://redis.io/docs/latest/commands/cluster-nodes/). A node that
// doesn't know its own address leaves it out: then it is asked, the address at which it was reached.
func parseView(text, asked string) (*view, error) {
	v := &view{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 8 {
			return nil, fmt.Errorf("CLUSTER NODES has a line of %d words: %.100q", len(fields), line)
		}
		addr, _, _ := strings.Cut(fields[1], ",") // host names follow
		addr, _, _ = strings.Cut(addr, "@")       // the port of the bus follows
		host, port, ok := splitAddr(addr)
		if !ok {
			return nil, fmt.Errorf("CLUSTER NODES has the address %.100q", fields[1])
		}
		if host == "" {
			host, _, _ = splitAddr(asked)
		}
		n := &node{id: fields[0], host: host, port: port, flags: strings.Split(fields[2], ",")}
		v.nodes = append(v.nodes, n)
		if n.is("myself") {
			v.self = n
		}
		for _, word := range fields[8:] {
			if err := v.addSlots(n, word); err != nil {
				return nil, err
			}
		}
	}
	if v.self == nil {
		return nil, fmt.Errorf("CLUSTER NODES doesn't say which of %d nodes answers", len(v.nodes))
	}
	slices.SortFunc(v.nodes, func(a, b *node) int { return strings.Compare(a.id, b.id) })
	return v, nil
}

// addSlots parses one of "5", "5-9", "[5->-ID]" (migrating) and "[5-<-ID]" (importing).
func (v *view) addSlots(n *node, word string) error {
	if inner, ok := strings.CutPrefix(word, "["); ok {
		inner = strings.TrimSuffix(inner, "]")
		slot, peer, importing := strings.Cut(inner, "-<-")
		if !importing {
			slot, peer, ok = strings.Cut(inner, "->-")
		}
		number, err := strconv.Atoi(slot)
		if err != nil || !ok || number < 0 || number >= slotCount {
			return fmt.Errorf("CLUSTER NODES has the open slot %.100q", word)
		}
		v.open = append(v.open, open{number, importing, peer})
		return nil
	}
	slots, err := parseSlots(word)
	if err != nil {
		return fmt.Errorf("CLUSTER NODES: %w", err)
	}
	for _, slot := range slots {
		v.owner[slot] = n
	}
	return nil
}

// splitAddr splits "host:port". An IPv6 address may come without brackets, as Redis writes it.
func splitAddr(addr string) (host, port string, ok bool) {
	i := strings.LastIndexByte(addr, ':')
	if i < 0 {
		return "", "", false
	}
	return strings.Trim(addr[:i], "[]"), addr[i+1:], true
}

func joinAddr(host, port string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]:" + port
	}
	return host + ":" + port
}
