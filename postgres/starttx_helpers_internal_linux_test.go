package postgres

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/peer"
)

// A txBench is a store with its peers, and a connection of the embedding program's own.
type txBench struct {
	t     *testing.T
	dsn   string
	peers []*peer.Peer
	user  *pgx.Conn
}

func newTxBench(t *testing.T, peers int) *txBench {
	b := &txBench{t: t, dsn: server.DSN(server.Database(t))}
	for range peers {
		b.peers = append(b.peers, b.open(peer.Options{}))
	}
	conn, err := pgx.Connect(kapitest.Within(t), b.dsn)
	if err != nil {
		t.Fatal(err)
	}
	b.user = conn
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	b.exec("CREATE TABLE deeds (what text)")
	return b
}

func (b *txBench) open(o peer.Options) *peer.Peer {
	b.t.Helper()
	o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	k, err := peer.Open(kapitest.Within(b.t), openAt(b.t, b.dsn, Options{}), o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := k.Close(); err != nil {
			b.t.Error(err)
		}
	})
	return k
}

func (b *txBench) exec(sql string, args ...any) {
	b.t.Helper()
	if _, err := b.user.Exec(kapitest.Within(b.t), sql, args...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *txBench) begin(o pgx.TxOptions) pgx.Tx {
	b.t.Helper()
	tx, err := b.user.BeginTx(kapitest.Within(b.t), o)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := tx.Exec(kapitest.Within(b.t), "INSERT INTO deeds VALUES ('done')"); err != nil {
		b.t.Fatal(err)
	}
	return tx
}

func (b *txBench) end(tx pgx.Tx, commit bool) {
	b.t.Helper()
	end := tx.Rollback
	if commit {
		end = tx.Commit
	}
	if err := end(kapitest.Within(b.t)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *txBench) deeds() (n int) {
	b.t.Helper()
	if err := b.user.QueryRow(kapitest.Within(b.t), "SELECT count(*) FROM deeds").Scan(&n); err != nil {
		b.t.Fatal(err)
	}
	return n
}

// ends waits until a watch delivers the end of the action, and returns the action.
func (b *txBench) ends(w *peer.Watch, id string) (seen []kapi.Action) {
	b.t.Helper()
	for {
		a, err := w.Next(kapitest.Within(b.t))
		if err != nil {
			b.t.Fatal(err)
		}
		if a.ID == id {
			seen = append(seen, a)
			if !a.Status.Active() {
				return seen
			}
		}
	}
}

func (b *txBench) watch(k *peer.Peer) *peer.Watch {
	b.t.Helper()
	w, err := k.Watch(kapitest.Within(b.t))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(w.Close)
	return w
}

func never(t *testing.T) kapi.Operation {
	return func(context.Context, kapi.Handle) error {
		t.Error("the operation ran")
		return nil
	}
}

func begins(c chan<- uint64) kapi.Operation {
	return func(_ context.Context, h kapi.Handle) error {
		c <- h.Fence()
		return nil
	}
}
