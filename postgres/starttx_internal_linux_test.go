package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

func TestStartTxCommitted(t *testing.T) {
	b := newTxBench(t, 2)
	w := b.watch(b.peers[1])
	tx := b.begin(pgx.TxOptions{})
	fences := make(chan uint64, 1)
	id, err := StartTx(kapitest.Within(t), tx, b.peers[0], kapi.Spec{Title: "In a transaction", Description: "d", Keys: []string{"x", "y"}}, begins(fences))
	if err != nil {
		t.Fatal(err)
	}
	if all, err := b.peers[1].List(kapitest.Within(t)); err != nil || len(all) != 0 {
		t.Errorf("before the commit: %v, %v", all, err)
	}
	b.end(tx, true)
	seen := b.ends(w, id)
	last := seen[len(seen)-1]
	if last.Status != kapi.StatusCompleted || last.Title != "In a transaction" || last.Description != "d" || last.StartedAt == 0 {
		t.Errorf("it ended as %+v", last)
	}
	if first := seen[0]; first.Status == kapi.StatusPending && first.Seq != <-fences {
		t.Errorf("the fence is not the seq of %+v", first)
	}
	if _, err := b.peers[1].Start(kapitest.Within(t), kapi.Spec{Title: "next", Keys: []string{"x", "y"}}, begins(make(chan uint64, 1))); err != nil {
		t.Errorf("its keys are not free: %v", err)
	}
	if n := b.deeds(); n != 1 {
		t.Errorf("%d deeds", n)
	}
}

func TestStartTxRolledBack(t *testing.T) {
	for _, how := range []string{"rollback", "savepoint", "connection"} {
		t.Run(how, func(t *testing.T) {
			b := newTxBench(t, 2)
			tx := b.begin(pgx.TxOptions{})
			inner := tx
			if how == "savepoint" {
				var err error
				if inner, err = tx.Begin(kapitest.Within(t)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := StartTx(kapitest.Within(t), inner, b.peers[0], kapi.Spec{Title: "T", Keys: []string{"x"}}, never(t)); err != nil {
				t.Fatal(err)
			}
			switch how {
			case "rollback":
				b.end(tx, false)
			case "savepoint":
				b.end(inner, false)
				b.end(tx, true)
			case "connection":
				_ = b.user.Close(kapitest.Within(t))
			}
			if err := b.peers[1].Do(kapitest.Within(t), kapi.Spec{Title: "other", Keys: []string{"x"}}, begins(make(chan uint64, 1))); err != nil {
				t.Errorf("the key is not free: %v", err)
			}
			before := time.Now()
			if err := b.peers[0].Close(); err != nil || time.Since(before) > 8*time.Second {
				t.Errorf("Close after %v: %v", time.Since(before), err)
			}
		})
	}
}

// However long the transaction stays open, it delays only starts with its keys.
func TestStartTxOpen(t *testing.T) {
	b := newTxBench(t, 2)
	tx := b.begin(pgx.TxOptions{})
	ran := make(chan uint64, 1)
	id, err := StartTx(kapitest.Within(t), tx, b.peers[0], kapi.Spec{Title: "T", Keys: []string{"x", "y"}}, begins(ran))
	if err != nil {
		t.Fatal(err)
	}
	hasty := b.open(peer.Options{StoreTimeout: 2 * time.Second})
	var busy *store.BusyError
	_, err = hasty.Start(kapitest.Within(t), kapi.Spec{Title: "same", Keys: []string{"z", "y"}}, never(t))
	if !errors.As(err, &busy) || !errors.Is(err, kapi.ErrUnavailable) || !strings.Contains(err.Error(), `"y"`) {
		t.Errorf("a start on its key: %v", err)
	}
	waited := make(chan error, 1)
	go func() {
		waited <- b.peers[1].Do(kapitest.Within(t), kapi.Spec{Title: "waits", Keys: []string{"x"}, Wait: -1}, begins(make(chan uint64, 1)))
	}()
	for i := range 50 {
		spec := kapi.Spec{Title: "other", Keys: []string{fmt.Sprint("other", i)}}
		if err := b.peers[i%2].Do(kapitest.Within(t), spec, begins(make(chan uint64, 1))); err != nil {
			t.Errorf("a start on another key: %v", err)
		}
	}
	w := b.watch(b.peers[1])
	b.end(tx, true)
	if seen := b.ends(w, id); seen[len(seen)-1].Status != kapi.StatusCompleted {
		t.Errorf("%+v", seen)
	}
	if err := <-waited; err != nil {
		t.Errorf("the action that waited for its key: %v", err)
	}
}

// An action that waits for a key of a transaction gets the key when the transaction is rolled back.
func TestStartTxWaiter(t *testing.T) {
	b := newTxBench(t, 2)
	tx := b.begin(pgx.TxOptions{})
	if _, err := StartTx(kapitest.Within(t), tx, b.peers[0], kapi.Spec{Title: "T", Keys: []string{"x"}}, never(t)); err != nil {
		t.Fatal(err)
	}
	w := b.watch(b.peers[0])
	waited := make(chan error, 1)
	go func() {
		waited <- b.peers[1].Do(kapitest.Within(t), kapi.Spec{Title: "waits", Keys: []string{"x"}, Wait: -1}, begins(make(chan uint64, 1)))
	}()
	if a, err := w.Next(kapitest.Within(t)); err != nil || a.State != "waits for a transaction that claims the key" {
		t.Errorf("the waiter: %+v, %v", a, err)
	}
	b.end(tx, false)
	if err := <-waited; err != nil {
		t.Error(err)
	}
}

func TestStartTxHeld(t *testing.T) {
	for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		t.Run(string(level), func(t *testing.T) {
			b := newTxBench(t, 2)
			tx := b.begin(pgx.TxOptions{IsoLevel: level}) // its snapshot is older than the holder
			stop := make(chan struct{})
			holder, err := b.peers[1].Start(kapitest.Within(t), kapi.Spec{Title: "holds", Keys: []string{"x"}}, func(context.Context, kapi.Handle) error {
				<-stop
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			var held *kapi.HeldError
			if _, err := StartTx(kapitest.Within(t), tx, b.peers[0], kapi.Spec{Title: "T", Keys: []string{"free", "x"}}, never(t)); !errors.As(err, &held) || held.Holder.ID != holder.ID {
				t.Errorf("%v, want that %s holds it", err, holder.ID)
			}
			id, err := StartTx(kapitest.Within(t), tx, b.peers[0], kapi.Spec{Title: "T", Keys: []string{"free"}}, begins(make(chan uint64, 1)))
			if err != nil {
				t.Fatalf("the transaction can't be used any more: %v", err)
			}
			w := b.watch(b.peers[1])
			b.end(tx, true)
			b.ends(w, id)
			close(stop)
			if n := b.deeds(); n != 1 {
				t.Errorf("%d deeds", n)
			}
		})
	}
}

// Keys are refused as by Peer.Start. A key that is not UTF-8 must not become equal to another key, nor
// break the caller's transaction.
func TestStartTxBadKey(t *testing.T) {
	b := newTxBench(t, 1)
	tx := b.begin(pgx.TxOptions{})
	var invalid *kapi.InvalidError
	_, err := StartTx(kapitest.Within(t), tx, b.peers[0], kapi.Spec{Title: "T", Keys: []string{"/srv/caf\xe9"}}, never(t))
	if !errors.As(err, &invalid) || err.Error() != `key is not valid UTF-8: byte 9 is 0xe9, after "/srv/caf"` {
		t.Errorf("%v", err)
	}
	b.end(tx, true)
}

// If two transactions want the same key, the second waits a while for the first.
func TestStartTxTwice(t *testing.T) {
	b := newTxBench(t, 1)
	other, err := pgx.Connect(kapitest.Within(t), b.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(kapitest.Within(t))
	tx := b.begin(pgx.TxOptions{})
	stop := make(chan struct{})
	id, err := StartTx(kapitest.Within(t), tx, b.peers[0], kapi.Spec{Title: "first", Keys: []string{"x"}}, func(context.Context, kapi.Handle) error {
		<-stop
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	second, err := other.Begin(kapitest.Within(t))
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan error, 1)
	go func() {
		_, err := StartTx(kapitest.Within(t), second, b.peers[0], kapi.Spec{Title: "second", Keys: []string{"x"}}, never(t))
		refused <- err
	}()
	b.end(tx, true)
	var held *kapi.HeldError
	if err := <-refused; !errors.As(err, &held) || held.Holder.ID != id {
		t.Errorf("%v, want that %s holds it", err, id)
	}
	close(stop)
	b.end(second, false)
}

// A start whose process died right after the commit is adopted and settled by another peer.
func TestStartTxOrphan(t *testing.T) {
	b := newTxBench(t, 1)
	w := b.watch(b.peers[0])
	me := proc.Self()
	dead := store.RunnerRecord{
		ID: "dead", Host: me.Host, PID: os.Getpid(), BootID: me.BootID, PIDNamespace: me.PIDNamespace,
		StartTime: me.StartTime + 1, Lease: time.Second, // as if its pid was reused
	}
	s := openAt(t, b.dsn, Options{})
	if err := s.Renew(kapitest.Within(t), dead); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b.exec("INSERT INTO kapi.keys VALUES ('x', 'orphan')")
	b.exec("INSERT INTO kapi.starts VALUES ('orphan', 'x', $1)", fmt.Sprintf(`{"title": "T", "runner": {"id": "dead", "host": %q, "pid": %d}}`, me.Host, os.Getpid()))
	seen := b.ends(w, "orphan")
	if last := seen[len(seen)-1]; last.Status != kapi.StatusAborted || !strings.Contains(last.State, "its runner died") {
		t.Errorf("it ended as %+v", last)
	}
	if err := b.peers[0].Do(kapitest.Within(t), kapi.Spec{Title: "next", Keys: []string{"x"}}, begins(make(chan uint64, 1))); err != nil {
		t.Errorf("its key is not free: %v", err)
	}
}

// A peer that closes before its start is adopted leaves no action that waits for ever.
func TestStartTxClosed(t *testing.T) {
	b := newTxBench(t, 1)
	for i := range 5 {
		leaves := b.open(peer.Options{})
		key := fmt.Sprint("x", i)
		tx := b.begin(pgx.TxOptions{})
		id, err := StartTx(kapitest.Within(t), tx, leaves, kapi.Spec{Title: "T", Keys: []string{key}}, func(ctx context.Context, _ kapi.Handle) error {
			<-ctx.Done()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		b.end(tx, true)
		if err := leaves.Close(); err != nil {
			t.Fatal(err)
		}
		kapitest.Eventually(t, "it is adopted", func() (none bool) {
			if err := b.user.QueryRow(kapitest.Within(t), "SELECT NOT EXISTS (SELECT FROM kapi.starts)").Scan(&none); err != nil {
				t.Fatal(err)
			}
			return none
		})
		a, err := b.peers[0].Get(kapitest.Within(t), id)
		if err == nil && a.Status.Active() {
			t.Errorf("after its peer has closed, the action is %+v", a)
		} else if err != nil && !errors.Is(err, kapi.ErrUnknown) {
			t.Error(err)
		}
	}
}

// The user of the transaction needs only the rights that docs/postgres.md names.
func TestStartTxRights(t *testing.T) {
	b := newTxBench(t, 1)
	b.exec("DROP ROLE IF EXISTS embedder")
	b.exec("CREATE ROLE embedder LOGIN")
	b.exec("GRANT INSERT ON deeds TO embedder")
	b.exec("GRANT USAGE ON SCHEMA kapi TO embedder")
	b.exec("GRANT SELECT ON kapi.head TO embedder")
	b.exec("GRANT INSERT ON kapi.keys, kapi.starts TO embedder")
	b.exec("SET ROLE embedder")
	w := b.watch(b.peers[0])
	tx := b.begin(pgx.TxOptions{})
	id, err := StartTx(kapitest.Within(t), tx, b.peers[0], kapi.Spec{Title: "T", Keys: []string{"x"}}, begins(make(chan uint64, 1)))
	if err != nil {
		t.Fatal(err)
	}
	b.end(tx, true)
	b.ends(w, id)
}

func TestStartTxElsewhere(t *testing.T) {
	b := newTxBench(t, 1)
	for name, other := range map[string]string{"without kapi": server.DSN(server.Database(t)), "with kapi": newTxBench(t, 1).dsn} {
		conn, err := pgx.Connect(kapitest.Within(t), other)
		if err != nil {
			t.Fatal(err)
		}
		tx, err := conn.Begin(kapitest.Within(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := StartTx(kapitest.Within(t), tx, b.peers[0], kapi.Spec{Title: "T"}, never(t)); err == nil || !strings.Contains(err.Error(), "another database") {
			t.Errorf("a database %s: %v", name, err)
		}
		if err := tx.Commit(kapitest.Within(t)); err != nil {
			t.Errorf("a database %s: the transaction can't be committed: %v", name, err)
		}
		_ = conn.Close(kapitest.Within(t))
	}
}
