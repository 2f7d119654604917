package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

const (
	updateHead   = `UPDATE head SET seq = ?`
	insertKey    = `INSERT INTO keys (key, action) VALUES (?, ?)`
	deleteKey    = `DELETE FROM keys WHERE key = ?`
	joinQueue    = `INSERT OR IGNORE INTO queue (key, ticket, action) VALUES (?, ?, ?)`
	leaveQueue   = `DELETE FROM queue WHERE ticket = ?`
	upsertRunner = `INSERT INTO runners (id, host, pid, boot_id, pid_namespace, start_time, lease_ms, beat, heard_at, work,
			slot, slot_file, slot_lease_ms)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET beat = beat + excluded.beat, heard_at = excluded.heard_at, lease_ms = excluded.lease_ms,
			work = excluded.work, slot = excluded.slot, slot_file = excluded.slot_file, slot_lease_ms = excluded.slot_lease_ms`
)

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, b store.Batch, decide func(store.Loaded) (store.Writes, error)) error {
	var decision error
	var head store.Head
	var in *file
	var wake []place
	var quiet bool
	wrote, err := s.writeIn(ctx, func(f *file, c *sqlite.Conn) (bool, error) {
		in = f
		if b.Again != nil {
			b = b.Again()
		}
		loaded, err := s.load(f, c, b)
		if err == nil {
			loaded.NoStarts = f.refusal
		}
		if err != nil {
			return false, err
		}
		w, err := decide(loaded)
		if decision = err; err != nil {
			return false, nil
		}
		head, quiet = store.Head{Epoch: loaded.Epoch, Seq: w.Head}, w.Quiet()
		if w.Empty() {
			return false, nil
		}
		if wake, err = bells(c, w.Wake); err != nil {
			return false, err
		}
		return true, s.save(f, c, w)
	})
	if wrote && !quiet && in.wake != nil {
		in.wake.touch(mark{head.Epoch, head.Seq})
		s.roster.ring(in, wake, head.Seq)
	}
	if err == nil {
		return decision // unchanged, as the contract says
	}
	return errors.Join(decision, err)
}

// Renew implements store.Store.
func (s *Store) Renew(ctx context.Context, r store.RunnerRecord) error {
	if s.renewInSlot(r) {
		return nil
	}
	_, err := s.writeIn(ctx, func(f *file, c *sqlite.Conn) (bool, error) { return true, s.saveRunner(f, c, r) })
	return err
}

// write calls f inside a write transaction, and commits if f says that it wrote.
func (s *Store) write(ctx context.Context, f func(*sqlite.Conn) (wrote bool, err error)) (bool, error) {
	return s.writeIn(ctx, func(_ *file, c *sqlite.Conn) (bool, error) { return f(c) })
}

// writeIn is write, but also passes the file to f.
func (s *Store) writeIn(ctx context.Context, f func(*file, *sqlite.Conn) (wrote bool, err error)) (bool, error) {
	for moved := false; ; moved = true {
		wrote, err := s.tryWrite(ctx, moved, f)
		if !errors.Is(err, errMoved) || ctx.Err() != nil {
			return wrote, err
		}
	}
}

// tryWrite makes one transaction. If the file is no longer in its place, it returns errMoved without
// calling f, because nobody would ever read what f wrote. It checks that under the write lock. If
// moved is true, because the last attempt failed with errMoved, it also checks before.
func (s *Store) tryWrite(ctx context.Context, moved bool, f func(*file, *sqlite.Conn) (wrote bool, err error)) (bool, error) {
	file, c, give, err := s.borrow(ctx, true, moved)
	if err != nil {
		return false, err
	}
	defer give()
	turns := file.wake.turns()
	defer turns.leave()
	if err := turns.begin(ctx, c); err != nil {
		return false, s.fail(err)
	}
	defer rollback(c)
	if !file.inPlace(s.name) {
		return false, s.fail(errMoved)
	}
	head, err := file.admit(c)
	if err != nil {
		return false, s.fail(err)
	}
	file.refusal = file.mayStart(head)
	s.roster.begin()
	wrote, err := f(file, c)
	if err != nil || !wrote {
		return false, s.fail(err)
	}
	if err := step(c, "COMMIT"); err != nil {
		return false, s.fail(err)
	}
	s.roster.committed(file)
	return true, nil
}

// mayStart returns a refusal of all starts if the store needs a newer kapi for them, nil otherwise.
func (f *file) mayStart(h headRow) (refusal error) {
	if h.minStart > f.schema {
		refusal = fmt.Errorf("%w: a newer kapi has changed it (it wants schema %d, this one knows %d): "+
			"this one still reports what it runs, and starts nothing more; use the newer one", kapi.ErrUnavailable, h.minStart, f.schema)
	}
	return refusal
}

func (s *Store) load(f *file, c *sqlite.Conn, b store.Batch) (l store.Loaded, err error) {
	if b.Light {
		l, err = loadLight(c, b)
	} else if l.Page, err = readFeed(c, b.Since); err == nil {
		l.Found, err = readByID(c, b.Find)
	}
	if err != nil {
		return l, err
	}
	if len(b.Runners) > 0 {
		l.Beats = make(map[string]uint64, len(b.Runners))
	}
	slots := s.roster.look(f)
	defer slots.done()
	for _, id := range b.Runners {
		err := each(c, selectBeat,
			func(stmt *sqlite.Stmt) { stmt.BindText(1, id) },
			func(stmt *sqlite.Stmt) {
				l.Beats[id] = uint64(stmt.ColumnInt64(0)) + slots.see(id, place{stmt.ColumnInt64(1), stmt.ColumnInt64(2)}).beat
			})
		if err != nil {
			return l, err
		}
	}
	if l.Answers, err = loadAnswers(c, b.Requests); err == nil {
		l.Marks, err = loadMarks(c, b.Marks)
	}
	return l, err
}

func (s *Store) save(f *file, c *sqlite.Conn, w store.Writes) error {
	for i := range w.Insert {
		if err := run(c, insertAction, func(stmt *sqlite.Stmt) { bindInsert(stmt, &w.Insert[i]) }); err != nil {
			return err
		}
	}
	for i := range w.Update {
		if err := run(c, updateAction, func(stmt *sqlite.Stmt) { bindUpdate(stmt, &w.Update[i]) }); err != nil {
			return err
		}
	}
	if err := saveQueue(c, w); err != nil {
		return err
	}
	if err := saveKeys(c, w); err != nil {
		return err
	}
	if err := saveSaved(c, w); err != nil {
		return err
	}
	for i := range w.Runners {
		if err := s.saveRunner(f, c, w.Runners[i]); err != nil {
			return err
		}
	}
	for i := range w.Answers {
		if err := saveAnswer(c, &w.Answers[i]); err != nil {
			return err
		}
	}
	if w.Quiet() {
		return nil
	}
	return run(c, updateHead, func(stmt *sqlite.Stmt) { stmt.BindInt64(1, int64(w.Head)) })
}

// saveKeys keeps the table keys.
func saveKeys(c *sqlite.Conn, w store.Writes) error {
	for _, key := range w.Free {
		if err := run(c, deleteKey, func(stmt *sqlite.Stmt) { stmt.BindText(1, key) }); err != nil {
			return err
		}
	}
	for _, claim := range w.Claim {
		err := run(c, insertKey, func(stmt *sqlite.Stmt) {
			stmt.BindText(1, claim.Key)
			stmt.BindText(2, claim.Action)
		})
		if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultConstraint {
			return store.ErrKeyTaken
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// saveQueue keeps the table queue: it has the keys of an action that was queued until it is no longer pending.
func saveQueue(c *sqlite.Conn, w store.Writes) error {
	for _, records := range [][]store.Record{w.Insert, w.Update} {
		for i := range records {
			r := &records[i]
			if r.Ticket == 0 {
				continue
			}
			if !r.Queued() {
				if err := run(c, leaveQueue, func(stmt *sqlite.Stmt) { stmt.BindInt64(1, int64(r.Ticket)) }); err != nil {
					return err
				}
			}
			for _, key := range r.Waits {
				err := run(c, joinQueue, func(stmt *sqlite.Stmt) {
					stmt.BindText(1, key)
					stmt.BindInt64(2, int64(r.Ticket))
					stmt.BindText(3, r.ID)
				})
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// outOfReach is a lease, in milliseconds, that never runs out.
const outOfReach = 100 * 365 * 24 * 60 * 60 * 1000

func (s *Store) saveRunner(f *file, c *sqlite.Conn, r store.RunnerRecord) error {
	at, owed, err := s.roster.save(f, c, r)
	if err != nil {
		return err
	}
	lease, slotLease := r.Lease.Milliseconds(), int64(0)
	if at.number != 0 {
		lease, slotLease = outOfReach, lease // see schema/0008.sql
	}
	return run(c, upsertRunner, func(stmt *sqlite.Stmt) {
		stmt.BindText(1, r.ID)
		stmt.BindText(2, r.Host)
		stmt.BindInt64(3, int64(r.PID))
		stmt.BindText(4, r.BootID)
		stmt.BindText(5, r.PIDNamespace)
		stmt.BindInt64(6, int64(r.StartTime))
		stmt.BindInt64(7, lease)
		stmt.BindInt64(8, int64(1+owed))
		stmt.BindInt64(9, time.Now().UnixMilli())
		stmt.BindText(10, r.Work)
		stmt.BindInt64(11, at.number)
		stmt.BindInt64(12, at.file)
		stmt.BindInt64(13, slotLease)
	})
}

// run runs a cached statement that returns nothing.
func run(c *sqlite.Conn, query string, bind func(*sqlite.Stmt)) error {
	stmt, err := c.Prepare(query)
	if err != nil {
		return err
	}
	bind(stmt)
	_, err = stmt.Step()
	if reset := stmt.Reset(); err == nil {
		err = reset
	}
	return err
}
