package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/kettubot/kapi"
)

// preflight refuses a resharding that would not get to its end, with all reasons that it finds. It changes nothing.
func preflight(ctx context.Context, c *cluster, a arguments) (kapi.Preview, error) {
	v, err := c.discover(ctx)
	if err != nil {
		return kapi.Preview{}, err
	}
	p, err := newPlan(a, v)
	if err != nil {
		return kapi.Preview{}, err
	}
	for _, n := range v.nodes {
		err = errors.Join(err, c.checkNode(ctx, n, p, a.Adopt))
	}
	if err != nil {
		return kapi.Preview{}, err
	}
	keys, err := c.countKeys(ctx, v.find(p.From), p.slots)
	if err != nil {
		return kapi.Preview{}, err
	}
	bytes, memory, err := c.checkMemory(ctx, v.find(p.From), v.find(p.To), keys)
	if err != nil {
		return kapi.Preview{}, err
	}
	lines := append(p.describe(v, keys, bytes), memory)
	warning, err := c.checkTimeout(ctx, v.find(p.From), a)
	if warning != "" {
		lines = append(lines, warning)
	}
	return kapi.Preview{Lines: lines}, err
}

// checkNode returns what is wrong with a node, or with the cluster as it sees it.
func (c *cluster) checkNode(ctx context.Context, n *node, p *plan, adopt bool) error {
	for _, flag := range []string{"fail", "fail?", "noaddr", "handshake"} {
		if n.is(flag) {
			return fmt.Errorf("%v is in the state %q", n, flag)
		}
	}
	v, err := c.see(ctx, n.addr())
	if err != nil {
		return err
	}
	if v.self.id != n.id {
		return fmt.Errorf("%v answers as %s: two clusters share an address", n, short(v.self.id))
	}
	info, err := c.info(ctx, n, clusterInfo)
	if err != nil {
		return err
	}
	if info["cluster_state"] != "ok" || info["cluster_slots_ok"] != strconv.Itoa(slotCount) {
		return fmt.Errorf("%v says that the cluster's state is %s, with %s of %d slots in order", n, info["cluster_state"],
			info["cluster_slots_ok"], slotCount)
	}
	if !n.is("master") {
		return nil
	}
	for _, o := range v.open {
		if !adopt || !p.opens(v.self.id, o) {
			err = errors.Join(err, fmt.Errorf("%v has slot %d open, to or from %s: somebody else moves it, or stopped in between "+
				"(see adopt)", n, o.slot, short(o.peer)))
		}
	}
	for _, slot := range p.slots {
		if owner := v.owner[slot]; owner == nil || owner.id != p.From {
			return errors.Join(err, fmt.Errorf("%v says that slot %d belongs to %v", n, slot, owner))
		}
	}
	return err
}

// opens reports whether the plan opens a slot in this way at the node with an id.
func (p *plan) opens(id string, o open) bool {
	for _, slot := range p.slots {
		if slot == o.slot {
			return o.importing && id == p.To && o.peer == p.From || !o.importing && id == p.From && o.peer == p.To
		}
	}
	return false
}

// checkMemory estimates the memory that the keys take from their share of the source's, and returns an error if the
// target hasn't as much left. A slot with keys that are much larger than the others' takes more than its share: then
// the target refuses a key, which loses nothing, and the operation waits for memory as for a failing node.
func (c *cluster) checkMemory(ctx context.Context, from, to *node, keys map[int]int64) (need int64, line string, err error) {
	given, err := c.info(ctx, from, memoryInfo)
	if err != nil {
		return 0, "", err
	}
	taken, err := c.info(ctx, to, memoryInfo)
	if err != nil {
		return 0, "", err
	}
	ctx, stop := context.WithTimeout(ctx, askTimeout)
	defer stop()
	size, err := c.at(from.addr()).DBSize(ctx).Result()
	if err != nil {
		return 0, "", fmt.Errorf("%v: %w", from, err)
	}
	moved := int64(0)
	for _, n := range keys {
		moved += n
	}
	if size > 0 {
		need = int64(float64(number(given["used_memory_dataset"])) * float64(moved) / float64(size))
	}
	most, policy := number(taken["maxmemory"]), taken["maxmemory_policy"]
	left := most - number(taken["used_memory"])
	switch {
	case most == 0:
		return need, fmt.Sprintf("%v has no limit of memory", to), nil
	case left >= need:
		return need, fmt.Sprintf("%v has %s left", to, size2text(left)), nil
	case policy == "noeviction":
		return 0, "", fmt.Errorf("%v has %s of memory left, the keys need about %s", to, size2text(left), size2text(need))
	}
	return 0, "", fmt.Errorf("%v has %s of memory left, the keys need about %s, and by its policy %s it would drop others for them",
		to, size2text(left), size2text(need), policy)
}

// checkTimeout warns of a failover: a node that is busy with MIGRATE answers nobody.
func (c *cluster) checkTimeout(ctx context.Context, from *node, a arguments) (warning string, err error) {
	ctx, stop := context.WithTimeout(ctx, askTimeout)
	defer stop()
	config, err := c.at(from.addr()).ConfigGet(ctx, "cluster-node-timeout").Result()
	if err != nil { // some services don't allow CONFIG
		return fmt.Sprintf("%v doesn't say its cluster-node-timeout: %v", from, err), unlessAnswer(err)
	}
	if ms := number(config["cluster-node-timeout"]); ms <= int64(max(a.BatchMS, a.BigMS)) {
		return fmt.Sprintf("%v has a cluster-node-timeout of %d ms: a MIGRATE that waits longer for %d ms may make the others think it dead",
			from, ms, max(a.BatchMS, a.BigMS)), nil
	}
	return "", nil
}

// describe lists the moves.
func (p *plan) describe(v *view, keys map[int]int64, bytes int64) []string {
	const most = 900 // a preview has at most 1,000 lines
	total, all := int64(0), spans(p.slots)
	var lines []string
	for i, s := range all {
		count := int64(0)
		for slot := s.first; slot <= s.last; slot++ {
			count += keys[slot]
		}
		total += count
		if i < most {
			lines = append(lines, fmt.Sprintf("slots %v: %d keys", s, count))
		}
	}
	if len(all) > most {
		lines = append(lines, fmt.Sprintf("and %d more ranges of slots", len(all)-most))
	}
	head := fmt.Sprintf("%d slots with %d keys, about %s, go from %v to %v", len(p.slots), total, size2text(bytes), v.find(p.From), v.find(p.To))
	return append([]string{head}, lines...)
}

func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64) // absent is 0
	return n
}

func size2text(bytes int64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}
