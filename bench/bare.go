package bench

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	store "github.com/kettubot/kapi/sqlite"
)

// maxBatch is the engine's limit of changes per transaction.
const maxBatch = 256

// A bare is the baseline for the engine: one goroutine that writes the callers' changes, up to maxBatch
// per transaction, with the statements and the driver of package sqlite. It has no rules, no view and
// no errors but the driver's.
type bare struct {
	conn  *sqlite.Conn
	wake  *os.File
	queue chan *write
	ended sync.WaitGroup

	commits atomic.Int64

	seq    int64
	epoch  string
	runner string
	host   string
	pid    int64
}

// A write is one change of one action, with the channel on which its caller waits.
type write struct {
	kind kind
	id   string
	key  string
	done chan struct{}
	err  error
}

type kind int

const (
	begins  kind = iota // inserts the action, already running, and its key
	reports             // updates the action
	ends                // updates the action for the last time, and deletes its key
)

const title, state = "A lifecycle", "the one state change"

// openBare creates a store at path, and opens it as a bare.
func openBare(path string) (*bare, error) {
	s, err := store.Open(path) // creates the schema
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	b := &bare{
		queue:  make(chan *write, 4*maxBatch),
		runner: strings.ToLower(rand.Text()), pid: int64(os.Getpid()),
	}
	if b.host, err = os.Hostname(); err != nil {
		return nil, err
	}
	if b.wake, err = os.OpenFile(path+"-wake", os.O_RDWR, 0); err != nil {
		return nil, err
	}
	if b.conn, err = sqlite.OpenConn(path, sqlite.OpenReadWrite); err != nil {
		return nil, err
	}
	for _, pragma := range []string{"journal_mode = wal", "synchronous = full", "temp_store = memory"} {
		if err := sqlitex.ExecuteTransient(b.conn, "PRAGMA "+pragma, nil); err != nil {
			return nil, err
		}
	}
	b.ended.Go(b.loop)
	return b, nil
}

func (b *bare) Close() error {
	close(b.queue)
	b.ended.Wait()
	return errors.Join(b.conn.Close(), b.wake.Close())
}

// lifecycle starts an action, changes its state and ends it. If acknowledged, the change is a write of
// its own that lifecycle waits for. If flushed, it is a write of its own that nobody waits for.
// Otherwise it is written with the end.
func (b *bare) lifecycle(key string, acknowledged, flushed bool) error {
	id := strings.ToLower(rand.Text())
	if err := b.do(&write{kind: begins, id: id, key: key}); err != nil {
		return err
	}
	report := &write{kind: reports, id: id, key: key}
	switch {
	case acknowledged:
		if err := b.do(report); err != nil {
			return err
		}
	case flushed:
		report.done = make(chan struct{})
		b.queue <- report
	}
	return b.do(&write{kind: ends, id: id, key: key})
}

func (b *bare) do(w *write) error {
	w.done = make(chan struct{})
	b.queue <- w
	<-w.done
	return w.err
}

func (b *bare) loop() {
	batch := make([]*write, 0, maxBatch)
	for w := range b.queue {
		batch = append(batch[:0], w)
		for len(batch) < maxBatch && len(b.queue) > 0 {
			batch = append(batch, <-b.queue)
		}
		b.commits.Add(1)
		err := b.commit(batch)
		for _, w := range batch {
			w.err = err
			close(w.done)
		}
	}
}

func (b *bare) commit(batch []*write) (err error) {
	if err := b.run("BEGIN IMMEDIATE", nil); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.run("ROLLBACK", nil))
		}
	}()
	if err := b.readHead(); err != nil {
		return err
	}
	if err := b.save(batch, time.Now().UnixMilli()); err != nil {
		return err
	}
	if err := b.run("COMMIT", nil); err != nil {
		return err
	}
	return b.touch()
}

func (b *bare) touch() error {
	_, err := b.wake.WriteAt(fmt.Appendf(nil, "%-63s\n", fmt.Sprint(b.epoch, " ", b.seq)), 0)
	return err
}

func (b *bare) readHead() error {
	stmt, err := b.conn.Prepare(selectHead)
	if err != nil {
		return err
	}
	for {
		row, err := stmt.Step()
		if err != nil || !row {
			return errors.Join(err, stmt.Reset())
		}
		b.epoch, b.seq = stmt.ColumnText(0), stmt.ColumnInt64(1)
	}
}

// save writes in the same order as package sqlite.
func (b *bare) save(batch []*write, now int64) error {
	starts := false
	for _, w := range batch {
		b.seq++
		query, bind := updateAction, b.bindUpdate
		if w.kind == begins {
			starts = true
			query, bind = insertAction, b.bindInsert
		}
		if err := b.run(query, func(stmt *sqlite.Stmt) { bind(stmt, w, now) }); err != nil {
			return err
		}
	}
	for _, w := range batch {
		if w.kind != ends {
			continue
		}
		if err := b.run(deleteKey, func(stmt *sqlite.Stmt) { stmt.BindText(1, w.key) }); err != nil {
			return err
		}
	}
	for _, w := range batch {
		if w.kind != begins {
			continue
		}
		err := b.run(insertKey, func(stmt *sqlite.Stmt) {
			stmt.BindText(1, w.key)
			stmt.BindText(2, w.id)
		})
		if err != nil {
			return err
		}
	}
	if starts {
		if err := b.run(upsertRunner, func(stmt *sqlite.Stmt) { b.bindRunner(stmt, now) }); err != nil {
			return err
		}
	}
	return b.run(updateHead, func(stmt *sqlite.Stmt) { stmt.BindInt64(1, b.seq) })
}

// run runs a cached statement that returns no rows.
func (b *bare) run(query string, bind func(*sqlite.Stmt)) error {
	stmt, err := b.conn.Prepare(query)
	if err != nil {
		return err
	}
	if bind != nil {
		bind(stmt)
	}
	_, err = stmt.Step()
	return errors.Join(err, stmt.Reset())
}

func (b *bare) bindInsert(stmt *sqlite.Stmt, w *write, now int64) {
	stmt.BindInt64(1, b.seq)
	stmt.BindText(2, w.id)
	stmt.BindText(3, title)
	stmt.BindText(4, "")
	stmt.BindInt64(5, now)
	stmt.BindInt64(6, 1)
	stmt.BindNull(7)
	stmt.BindText(8, "")
	stmt.BindText(9, w.key)
	stmt.BindInt64(10, now)
	b.bindRest(stmt, 11, now)
	stmt.BindText(25, "")
}

func (b *bare) bindUpdate(stmt *sqlite.Stmt, w *write, now int64) {
	status, keys := int64(2), w.key
	if w.kind == ends {
		status, keys = 5, ""
	}
	stmt.BindInt64(1, b.seq)
	stmt.BindInt64(2, status)
	stmt.BindNull(3)
	stmt.BindText(4, state)
	stmt.BindText(5, keys)
	stmt.BindInt64(6, now)
	b.bindRest(stmt, 7, now)
	stmt.BindText(22, w.id)
}

func (b *bare) bindRest(stmt *sqlite.Stmt, at int, now int64) {
	stmt.BindInt64(at, now)
	stmt.BindText(at+1, b.runner)
	stmt.BindText(at+2, b.host)
	stmt.BindInt64(at+3, b.pid)
	stmt.BindInt64(at+4, now)
	stmt.BindInt64(at+5, 0)
	stmt.BindText(at+6, "")
	stmt.BindNull(at + 7)
	stmt.BindInt64(at+8, b.seq)
	stmt.BindInt64(at+9, 0)
	stmt.BindText(at+10, "")
	stmt.BindText(at+11, "")
	stmt.BindInt64(at+12, 0)
	stmt.BindText(at+13, "")
}

func (b *bare) bindRunner(stmt *sqlite.Stmt, now int64) {
	stmt.BindText(1, b.runner)
	stmt.BindText(2, b.host)
	stmt.BindInt64(3, b.pid)
	stmt.BindText(4, "01234567-89ab-cdef-0123-456789abcdef") // as long as Linux's boot ids
	stmt.BindText(5, "pid:[4026531836]")
	stmt.BindInt64(6, now)
	stmt.BindInt64(7, 15000)
	stmt.BindInt64(8, 1)
	stmt.BindInt64(9, now)
	stmt.BindText(10, "")
	stmt.BindInt64(11, 1)
	stmt.BindInt64(12, now)
	stmt.BindInt64(13, 15000)
}
