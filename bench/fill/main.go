// Command fill fills a store with a crowd of actions, for measurements by hand, and then stays, as the
// process of the runners, until standard input ends.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/kettubot/kapi/bench"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/postgres"
	"github.com/kettubot/kapi/sqlite"
)

func main() {
	var c bench.Crowd
	for name, n := range map[string]*int{
		"running": &c.Running, "remote": &c.Remote, "dead": &c.Dead, "failed": &c.Failed,
		"one-queue": &c.OneQueue, "queues": &c.Queues, "ended": &c.Ended,
	} {
		flag.IntVar(n, name, 0, "how many `actions` of this kind")
	}
	flag.Parse()
	if err := fill(flag.Arg(0), c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func fill(at string, c bench.Crowd) (err error) {
	var s store.Store
	if strings.HasPrefix(at, "postgres:") {
		s, err = postgres.Open(context.Background(), at, postgres.Options{})
	} else {
		s, err = sqlite.Open(at)
	}
	if err != nil {
		return err
	}
	defer s.Close()
	if err := bench.Fill(context.Background(), s, c); err != nil {
		return err
	}
	fmt.Println("filled")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
