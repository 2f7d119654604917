// Reshard moves slots of a Redis Cluster, as an operation that goes on where it stopped, whatever dies.
//
//	reshard preview '{"addrs": ["10.0.0.1:6379"], "from": "10.0.0.1:6379", "to": "10.0.0.2:6379", "count": 100}'
//
// says what would be moved, or why it can't be. README.md tells the rest.
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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := command(ctx, os.Args[1:], os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func command(ctx context.Context, args []string, out io.Writer) error {
	if len(args) != 2 || args[0] != "preview" {
		return errors.New("usage: reshard preview ARGUMENTS, which are a JSON object")
	}
	// Whoever sees an action sees its arguments. So the password comes from the environment of the process.
	c := config{User: os.Getenv("REDIS_USER"), Password: os.Getenv("REDIS_PASSWORD")}
	return preview(ctx, c, json.RawMessage(args[1]), out)
}

// preview checks the arguments and the cluster, and prints what a resharding would do.
func preview(ctx context.Context, c config, arguments json.RawMessage, out io.Writer) error {
	d := define(c, slog.Default())
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
