package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// moveKeys moves all keys of an open slot. The source creates none meanwhile: it sends clients of keys that it doesn't
// have to the target. So once it has none, that is final.
func (m *mover) moveKeys(ctx context.Context, s *standing) error {
	ask := context.WithoutCancel(ctx) // questions have deadlines of their own
	for {
		keys, err := m.keysIn(ask, s)
		if err != nil || len(keys) == 0 {
			return err
		}
		keys, big, err := m.cut(ask, s, keys)
		if err != nil {
			return err
		}
		var double []string
		if s.copies > 0 {
			if keys, double, err = m.split(ask, s, keys); err != nil {
				return err
			}
		}
		if len(double) > 0 && m.opened != s.run {
			return refuse("slot %d: %d keys are in both nodes, such as %.100q, and the source has restarted since the slot was opened: it may "+
				"have forgotten that they were moved or deleted; delete the wrong one of each two", s.slot, len(double), double[0])
		}
		timeout := m.args.batchTimeout()
		if big {
			timeout = m.args.bigTimeout()
		}
		if err := m.migrate(ctx, s, double, timeout, "replace"); err != nil {
			return err
		}
		if err := m.migrate(ctx, s, keys, timeout); err != nil {
			return err
		}
		m.moved += len(keys) + len(double)
		if m.cancelled == nil {
			m.h.SetState(fmt.Sprintf("%s: %d keys moved", m.where, m.moved))
		}
	}
}

// keysIn returns some of the keys that the source has.
func (m *mover) keysIn(ctx context.Context, s *standing) ([]string, error) {
	ctx, stop := context.WithTimeout(ctx, askTimeout)
	defer stop()
	keys, err := m.cluster.at(s.source.addr()).ClusterGetKeysInSlot(ctx, s.slot, m.args.BatchKeys).Result()
	if err != nil {
		return nil, fmt.Errorf("%v: %w", s.source, err)
	}
	return keys, nil
}

// cut returns as many of the keys as a batch may have by their memory. A key that is too large for any batch is big,
// and returned alone.
func (m *mover) cut(ctx context.Context, s *standing, keys []string) (batch []string, big bool, err error) {
	sizes := make([]*redis.IntCmd, len(keys))
	err = m.cluster.each(ctx, s.source.addr(), func(p redis.Pipeliner) {
		for i, key := range keys {
			sizes[i] = p.MemoryUsage(ctx, key)
		}
	})
	if err != nil {
		return nil, false, err
	}
	most, sum := int64(m.args.BatchBytes), int64(0)
	for i, key := range keys {
		size, _ := sizes[i].Result() // it may be gone by now: then MIGRATE leaves it out
		if size > most && len(batch) == 0 {
			return []string{key}, true, nil
		}
		if sum += size; sum > most {
			break
		}
		batch = append(batch, key)
	}
	return batch, false, nil
}

// split tells the keys that are in the target, too, from the others. A MIGRATE that was interrupted has left them there,
// or has yet to take them away from the source.
func (m *mover) split(ctx context.Context, s *standing, keys []string) (single, double []string, err error) {
	there := make([]*redis.IntCmd, len(keys))
	err = m.cluster.each(ctx, m.addrs[m.plan.To], func(p redis.Pipeliner) {
		for i, key := range keys {
			p.Do(ctx, "asking") // for the next command only
			there[i] = p.Exists(ctx, key)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	for i, key := range keys {
		found, err := there[i].Result()
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("%v: %w", s.target, err)
		case found > 0:
			double = append(double, key)
		default:
			single = append(single, key)
		}
	}
	return single, double, nil
}

// migrate moves keys. With "replace" it does so even if the target has them.
//
// That is safe only while the slot has been MIGRATING in the source ever since the copies came into being: as long as
// the source has a key, it serves the key's clients itself, and sends none to the target. So the target's copy is what
// an interrupted MIGRATE left, and not newer. MIGRATE takes the source's value, or does nothing if the source no longer
// has the key, in one step; to delete the target's copy first would race with clients that come to it in between.
// Without "replace", a key in the target is never overwritten, whatever we believed to know.
func (m *mover) migrate(ctx context.Context, s *standing, keys []string, timeout time.Duration, replace ...string) error {
	if len(keys) == 0 {
		return nil
	}
	args := []any{"migrate", s.target.host, s.target.port, "", 0, timeout.Milliseconds()}
	for _, word := range replace {
		args = append(args, word)
	}
	switch c := m.cluster.config; {
	case c.User != "":
		args = append(args, "auth2", c.User, c.Password)
	case c.Password != "":
		args = append(args, "auth", c.Password)
	}
	args = append(args, "keys")
	for _, key := range keys {
		args = append(args, key)
	}
	err := m.do(ctx, m.plan.From, 2*timeout+askTimeout, args...)
	var failed *commandError
	if errors.As(err, &failed) && len(keys) == 1 {
		return fmt.Errorf("key %.100q: %w", keys[0], err)
	}
	return err
}

// endTransfers closes the target's connections on which an earlier MIGRATE may still arrive. A MIGRATE that has timed
// out in the source may lie in the target's buffers: if it were carried out after a later one, and after clients have
// written to the target, it would overwrite what they wrote (with "replace"), or bring back a deleted key. Redis runs
// its commands one at a time, so the source has none under way when it answers; and observe has asked both.
//
// Only MIGRATE sends RESTORE-ASKING. A connection on which nothing, or only what MIGRATE sends before it, has arrived
// may be one, too: a client whose connection is closed by mistake connects again.
func (m *mover) endTransfers(ctx context.Context) error {
	asking, stop := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer stop()
	clients, err := m.cluster.at(m.addrs[m.plan.To]).ClientList(asking).Result()
	if err != nil {
		return fmt.Errorf("%s: %w", m.addrs[m.plan.To], err)
	}
	for line := range strings.Lines(clients) {
		fields := map[string]string{}
		for _, field := range strings.Fields(line) {
			name, value, _ := strings.Cut(field, "=")
			fields[name] = value
		}
		if slices.Contains([]string{"restore-asking", "select", "auth", "NULL"}, fields["cmd"]) {
			// It says how many it has closed: none if it is gone by now.
			if err := m.do(ctx, m.plan.To, askTimeout, "client", "kill", "id", fields["id"]); err != nil {
				return err
			}
		}
	}
	return nil
}
