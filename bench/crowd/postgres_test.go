package crowd

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/pgtest"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/postgres"
)

// newServer starts a PostgreSQL server with its default limits, as far as connections go, that syncs to disk.
func newServer(b *testing.B) *pgtest.Server {
	return pgtest.For(b, pgtest.Options{Durable: true, Settings: map[string]string{"shared_buffers": "128MB"}})
}

// newDatabase makes an empty store and returns its name.
func newDatabase(b *testing.B, kapi string, server *pgtest.Server) (database, store string) {
	database = server.Database(b)
	store = server.DSN(database)
	alone(b, kapi, "--store", store, "run", "--", "true")
	return database, store
}

// through names a database by way of a PgBouncer that pools transactions.
func through(bouncer, database string) string {
	return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable&default_query_exec_mode=exec", bouncer, database)
}

// atOnce measures commands that all sleep at the same time on a server with its default 100 connections.
func atOnce(b *testing.B, c *bench) {
	server := newServer(b)
	together(b, c, share(90), "on PostgreSQL", func() string {
		_, store := newDatabase(b, c.kapi, server)
		return store
	})
}

// pooled measures commands that all sleep at the same time, behind a PgBouncer with 20 connections.
func pooled(b *testing.B, c *bench) {
	server := newServer(b)
	bouncer := server.Bouncer(b, 20)
	together(b, c, share(400), "through PgBouncer", func() string {
		database, _ := newDatabase(b, c.kapi, server)
		return through(bouncer, database)
	})
}

func together(b *testing.B, c *bench, n int, where string, newStore func() string) {
	var all tally
	var starts, cores []float64
	each(b.Name(), func() {
		f := newFleet(b, c.kapi)
		f.start(n, f.asleep(c, newStore()))
		starts = append(starts, f.awaitBegun().Seconds())
		time.Sleep(settling)
		cores = append(cores, 100*f.cpu())
		f.terminate(&all)
	})
	p := c.part(b, fmt.Sprintf("%d asleep %s", n, where), &all)
	p.note("all begun", "s", starts)
	p.note("processor of all, without the server", "% of a core", cores)
}

// inTurns measures more commands than the server has connections, started at once: each must run before its
// --store-timeout.
func inTurns(b *testing.B, c *bench) {
	const timeout = time.Minute
	n := share(200)
	server := newServer(b)
	var all tally
	var starts []float64
	each(b.Name(), func() {
		_, store := newDatabase(b, c.kapi, server)
		f := newFleet(b, c.kapi)
		f.start(n, func(i int) []string {
			return append([]string{c.kapi, "--store", store, "--store-timeout", timeout.String(), "run", "--key", f.key(i), "--"}, f.sleeper(i, 5)...)
		})
		starts = append(starts, f.awaitBegun().Seconds())
		f.count(&all, 0)
	})
	p := c.part(b, fmt.Sprintf("%d of 5 s each on PostgreSQL", n), &all)
	p.atMost("all begun (--store-timeout)", "s", starts, timeout.Seconds())
}

// cancels measures how long a cancel takes to reach a command, with notifications and without them.
func cancels(b *testing.B, c *bench) {
	server := newServer(b)
	bouncer := server.Bouncer(b, 20)
	database, store := newDatabase(b, c.kapi, server)
	canceller := follow(b, store)
	for _, way := range []struct{ name, store string }{
		{"with LISTEN", store},
		{"without LISTEN (through PgBouncer)", through(bouncer, database)},
	} {
		var all tally
		var delays []float64
		each(b.Name(), func() {
			for range 3 {
				delays = append(delays, cancel(b, c, way.store, canceller, &all))
			}
		})
		c.part(b, "a cancel on PostgreSQL "+way.name, &all).atMost("until the command has ended", "s", delays, 2)
	}
}

func follow(b *testing.B, dsn string) *peer.Peer {
	s, err := postgres.Open(context.Background(), dsn, postgres.Options{})
	if err != nil {
		b.Fatal(err)
	}
	p, err := peer.Open(context.Background(), s, peer.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.Close() })
	return p
}

// cancel starts a command, has it cancelled, and returns how many seconds it then takes to end.
func cancel(b *testing.B, c *bench, store string, by *peer.Peer, all *tally) float64 {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	f := newFleet(b, c.kapi)
	f.start(1, f.asleep(c, store))
	f.awaitBegun()
	time.Sleep(settling)
	list, err := by.List(ctx)
	if err != nil {
		b.Fatal(err)
	}
	mine := slices.IndexFunc(list, func(a kapi.Action) bool { return slices.Contains(a.Keys, f.key(0)) })
	if mine < 0 {
		b.Fatalf("the command is not in the list; stderr: %s", f.said())
	}
	asked := time.Now()
	if _, err := by.Cancel(ctx, list[mine].ID, "the benchmark"); err != nil {
		b.Fatal(err)
	}
	for !f.ended(0) && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	took := time.Since(asked).Seconds()
	f.terminate(all)
	return took
}
