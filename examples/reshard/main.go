// Reshard moves slots of a Redis Cluster, as an operation that goes on where it stopped, whatever dies.
//
//	reshard preview '{"addrs": ["10.0.0.1:6379"], "from": "10.0.0.1:6379", "to": "10.0.0.2:6379", "count": 100}'
//
// says what would be moved, or why it can't be.
//
//	reshard serve STORE
//
// offers the operation to all who have the store (a postgres:// URL or an SQLite file) until it is interrupted, and runs
// what is started. README.md tells the rest.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/postgres"
	"github.com/kettubot/kapi/sqlite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:], os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func command(ctx context.Context, args []string, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("usage: reshard preview ARGUMENTS (a JSON object), or reshard serve STORE")
	}
	// Whoever sees an action sees its arguments. So the password comes from the environment of the process.
	c := config{User: os.Getenv("REDIS_USER"), Password: os.Getenv("REDIS_PASSWORD")}
	d := define(c, slog.Default())
	switch args[0] {
	case "preview":
		return preview(ctx, d, json.RawMessage(args[1]), out)
	case "serve":
		return serve(ctx, d, args[1], peer.Options{Logger: slog.Default()})
	}
	return fmt.Errorf("there is no command %q", args[0])
}

// preview checks the arguments and the cluster, and prints what a resharding would do.
func preview(ctx context.Context, d kapi.Definition, arguments json.RawMessage, out io.Writer) error {
	if err := d.Validate(); err != nil {
		return err
	}
	checked, wrong := d.Check(arguments)
	var all error
	for _, field := range wrong {
		all = errors.Join(all, field)
	}
	if all != nil {
		return all
	}
	p, err := d.Preflight(ctx, checked)
	for _, line := range p.Lines {
		fmt.Fprintln(out, line)
	}
	return err
}

// serve offers the operation until ctx ends. Then what runs is handed over to another process that serves.
func serve(ctx context.Context, d kapi.Definition, store string, o peer.Options) error {
	s, err := openStore(ctx, store)
	if err != nil {
		return err
	}
	o.Operations = []kapi.Definition{d}
	p, err := peer.Open(ctx, s, o)
	if err != nil {
		return err
	}
	<-ctx.Done()
	return p.Close()
}

func openStore(ctx context.Context, store string) (peer.Store, error) {
	if strings.HasPrefix(store, "postgres://") || strings.HasPrefix(store, "postgresql://") {
		return postgres.Open(ctx, store, postgres.Options{})
	}
	return sqlite.OpenContext(ctx, store)
}
