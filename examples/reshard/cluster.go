package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// A config is what the runner knows of Redis, and no argument says.
type config struct {
	User, Password string
	// Connect returns a client of one node, which sends each command once (MaxRetries: -1) and waits as long as its
	// context allows; nil is connect.
	Connect func(options *redis.Options) *redis.Client
}

// askTimeout bounds each question. It allows for a node that is blocked by a MIGRATE.
const askTimeout = 5 * time.Second

// A cluster has clients of single nodes, not a cluster client: each command is meant for one node. It is used by one
// goroutine.
type cluster struct {
	config
	seeds   []string
	clients map[string]*redis.Client // by address
}

func newCluster(c config, addrs []string) *cluster {
	return &cluster{config: c, seeds: addrs, clients: map[string]*redis.Client{}}
}

func (c *cluster) close() {
	for _, client := range c.clients {
		_ = client.Close()
	}
}

// at returns the client of the node at an address.
func (c *cluster) at(addr string) *redis.Client {
	if client := c.clients[addr]; client != nil {
		return client
	}
	options := &redis.Options{
		Addr: addr, Username: c.User, Password: c.Password, ClientName: "kapi-reshard",
		MaxRetries: -1, DialerRetries: 1, // one permission of Proceed is for one command
		ReadTimeout: -1, WriteTimeout: -1, ContextTimeoutEnabled: true, // each command has its own deadline
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if c.Connect == nil {
		c.Connect = redis.NewClient
	}
	c.clients[addr] = c.Connect(options)
	return c.clients[addr]
}

// see returns the cluster as the node at an address sees it.
func (c *cluster) see(ctx context.Context, addr string) (*view, error) {
	ctx, stop := context.WithTimeout(ctx, askTimeout)
	defer stop()
	text, err := c.at(addr).ClusterNodes(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("%s doesn't say what it knows of the cluster: %w", addr, err)
	}
	return parseView(text, addr)
}

// discover returns the cluster as the first node that answers sees it.
func (c *cluster) discover(ctx context.Context) (*view, error) {
	var all error
	for _, addr := range c.seeds {
		v, err := c.see(ctx, addr)
		if err == nil {
			return v, nil
		}
		all = errors.Join(all, err)
	}
	return nil, all
}

// each asks many questions at once. It fails with the first error that is not in an answer.
func (c *cluster) each(ctx context.Context, addr string, ask func(redis.Pipeliner)) error {
	ctx, stop := context.WithTimeout(ctx, askTimeout)
	defer stop()
	_, err := c.at(addr).Pipelined(ctx, func(p redis.Pipeliner) error { ask(p); return nil })
	if err = unlessAnswer(err); err != nil {
		return fmt.Errorf("%s: %w", addr, err)
	}
	return nil
}

// unlessAnswer returns nil if the error is an answer of Redis: the connection works.
func unlessAnswer(err error) error {
	if answer := redis.Error(nil); errors.As(err, &answer) {
		return nil
	}
	return err
}

// countKeys returns how many keys each slot has.
func (c *cluster) countKeys(ctx context.Context, n *node, slots []int) (map[int]int64, error) {
	counts := map[int]int64{}
	asked := make([]*redis.IntCmd, len(slots))
	err := c.each(ctx, n.addr(), func(p redis.Pipeliner) {
		for i, slot := range slots {
			asked[i] = p.ClusterCountKeysInSlot(ctx, slot)
		}
	})
	if err != nil {
		return nil, err
	}
	for i, slot := range slots {
		if counts[slot], err = asked[i].Result(); err != nil {
			return nil, fmt.Errorf("%v: %w", n, err)
		}
	}
	return counts, nil
}

// An infoQuestion asks for "name:value" lines.
type infoQuestion func(r *redis.Client, ctx context.Context) *redis.StringCmd

var clusterInfo infoQuestion = (*redis.Client).ClusterInfo

func memoryInfo(r *redis.Client, ctx context.Context) *redis.StringCmd { return r.Info(ctx, "memory") }

func serverInfo(r *redis.Client, ctx context.Context) *redis.StringCmd { return r.Info(ctx, "server") }

// info asks a node for "name:value" lines.
func (c *cluster) info(ctx context.Context, n *node, ask infoQuestion) (map[string]string, error) {
	ctx, stop := context.WithTimeout(ctx, askTimeout)
	defer stop()
	text, err := ask(c.at(n.addr()), ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("%v: %w", n, err)
	}
	return parseInfo(text), nil
}

func parseInfo(text string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			values[name] = value
		}
	}
	return values
}
