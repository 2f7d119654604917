package bench

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// BenchmarkDrivers runs the writes of lifecycles in batches of 128 through the driver that package
// sqlite uses, and through database/sql over the same translation of SQLite to Go. It is the reason why
// the store doesn't use database/sql.
func BenchmarkDrivers(b *testing.B) {
	for b.Loop() {
		loop, err := openBare(filepath.Join(b.TempDir(), "zombiezen.db"))
		if err != nil {
			b.Fatal(err)
		}
		viaSQL := openSQL(b)
		zombiezen, modernc, ratios := make([]float64, pairs), make([]float64, pairs), make([]float64, pairs)
		for i := range pairs {
			zombiezen[i] = batches(b, loop.commit)
			modernc[i] = batches(b, viaSQL.commit)
			ratios[i] = zombiezen[i] / modernc[i]
		}
		if err := loop.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(median(zombiezen), "zombiezen/s")
		b.ReportMetric(median(modernc), "database-sql/s")
		b.ReportMetric(median(ratios), "ratio")
	}
	b.ReportMetric(0, "ns/op")
}

// batches returns how many lifecycles a second commit handles.
func batches(b *testing.B, commit func([]*write) error) float64 {
	const size, times = 128, 40
	began := time.Now()
	for i := range times {
		starts, stops := make([]*write, size), make([]*write, size)
		for j := range size {
			// Unlike in BenchmarkLifecycles, these ids needn't be random.
			id, key := fmt.Sprintf("%d-%06d-%06d", began.UnixNano(), i, j), fmt.Sprintf("key-%d", j)
			starts[j], stops[j] = &write{kind: begins, id: id, key: key}, &write{kind: ends, id: id, key: key}
		}
		for _, batch := range [][]*write{starts, stops} {
			if err := commit(batch); err != nil {
				b.Fatal(err)
			}
		}
	}
	return size * times / time.Since(began).Seconds()
}

// A sqlLoop is the commit of a bare, over database/sql.
type sqlLoop struct {
	*bare // for the values
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

func openSQL(b *testing.B) *sqlLoop {
	path := filepath.Join(b.TempDir(), "sql.db")
	values, err := openBare(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = values.Close() })
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=temp_store(memory)")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	conn, err := db.Conn(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return &sqlLoop{values, conn, map[string]*sql.Stmt{}}
}

func (l *sqlLoop) exec(query string, args ...any) error {
	stmt, err := l.prepared(query)
	if err != nil {
		return err
	}
	_, err = stmt.Exec(args...)
	return err
}

func (l *sqlLoop) prepared(query string) (*sql.Stmt, error) {
	if stmt := l.stmts[query]; stmt != nil {
		return stmt, nil
	}
	stmt, err := l.conn.PrepareContext(context.Background(), query)
	if err == nil {
		l.stmts[query] = stmt
	}
	return stmt, err
}

func (l *sqlLoop) commit(batch []*write) error {
	if err := l.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	head, err := l.prepared(selectHead)
	if err != nil {
		return err
	}
	var purged, minReport, minStart int64
	if err := head.QueryRow().Scan(&l.epoch, &l.seq, &purged, &minReport, &minStart); err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	starts := false
	for _, w := range batch {
		l.seq++
		rest := []any{now, l.runner, l.host, l.pid, now, 0, "", nil, l.seq, 0, "", "", 0}
		if w.kind == begins {
			starts = true
			first := []any{l.seq, w.id, title, "", now, 1, nil, "", w.key, now}
			err = l.exec(insertAction, append(append(first, rest...), "")...)
		} else {
			first := []any{l.seq, 5, nil, state, "", now}
			err = l.exec(updateAction, append(append(first, rest...), w.id)...)
		}
		if err != nil {
			return err
		}
	}
	for _, w := range batch {
		if w.kind == begins {
			err = l.exec(insertKey, w.key, w.id)
		} else {
			err = l.exec(deleteKey, w.key)
		}
		if err != nil {
			return err
		}
	}
	if starts {
		if err := l.exec(upsertRunner, l.runner, l.host, l.pid, "", "", now, 15000, now, ""); err != nil {
			return err
		}
	}
	if err := l.exec(updateHead, l.seq); err != nil {
		return err
	}
	if err := l.exec("COMMIT"); err != nil {
		return err
	}
	return l.touch()
}
