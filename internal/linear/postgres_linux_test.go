package linear

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/badnet"
	"github.com/kettubot/kapi/internal/pgtest"
	"github.com/kettubot/kapi/postgres"
)

// A database is the PostgreSQL store, in a schema of its own, with a proxy in front of each peer.
type database struct {
	server  *pgtest.Server
	name    string // of the schema
	seed    uint64
	proxies [peers]*badnet.Proxy
}

// newServer starts a PostgreSQL that syncs to disk.
func newServer(t *testing.T) *pgtest.Server {
	t.Helper()
	return pgtest.For(t, pgtest.Options{Durable: true, TCP: true, Settings: map[string]string{"autovacuum": "off", "jit": "off"}})
}

func newDatabase(t *testing.T, server *pgtest.Server, seed uint64) *database {
	t.Helper()
	d := &database{server: server, name: fmt.Sprintf("history_%d", rand.Uint64()), seed: seed} // the seed may repeat
	for i := range d.proxies {
		d.proxies[i] = badnet.New(t, server.Address(), 0)
	}
	return d
}

func (d *database) dsn(slot int) string {
	return fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", d.proxies[slot].Address())
}

func (d *database) schema() string { return d.name }

func (d *database) read(t *testing.T) []sight {
	t.Helper()
	store, err := postgres.Open(context.Background(), d.server.DSN("postgres"), postgres.Options{Schema: d.name})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	return readAll(t, store)
}

func (d *database) trouble(r *round) {
	r.troublePeers(2+r.random.IntN(2), 2+r.random.IntN(2))
	for range 3 + r.random.IntN(3) {
		d.cut(r)
	}
	for range 1 + r.random.IntN(2) {
		d.hang(r)
	}
	crashes := int(d.seed % 2)
	if r.settings[0].Bug == tooEarly {
		crashes = 2 // only crashes reveal this bug
	}
	for range crashes {
		r.at(r.when(), func() { d.crash(r) })
	}
}

// cut plans to cut a peer's connections: all of them at once, or the next one used, before the request
// arrives or before the answer does.
func (d *database) cut(r *round) {
	slot, how := r.slot(), r.random.IntN(4)
	r.at(r.when(), func() {
		r.note("cut %d (%d)", slot, how)
		switch p := d.proxies[slot]; how {
		case 0, 1:
			p.Cut(how == 0)
		case 2:
			p.Set(badnet.CutBefore)
		case 3:
			p.Set(badnet.CutAfter)
		}
	})
}

// hang plans that a peer's connections stay open, but pass nothing on for a while.
func (d *database) hang(r *round) {
	slot, when, heals, heard := r.slot(), r.when(), r.random.IntN(2) == 0, r.random.IntN(2) == 0
	r.at(when, func() {
		r.note("hang %d", slot)
		if heard {
			d.proxies[slot].Set(badnet.HangAfter)
		} else {
			d.proxies[slot].Hang(true)
		}
	})
	r.at(when+r.between(50*time.Millisecond, storeTimeout), func() {
		r.note("hang no more %d, heals=%v", slot, heals)
		d.proxies[slot].Set(badnet.None)
		if !heals {
			d.proxies[slot].Cut(true)
		}
		d.proxies[slot].Hang(false)
	})
}

// crash kills the server, and starts it again.
func (d *database) crash(r *round) {
	r.note("kill the database")
	d.server.Kill()
	r.note("start the database again")
	if err := d.server.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.note("the database is back")
}
