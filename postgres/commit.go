package postgres

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kettubot/kapi/internal/store"
)

// many is the number of rows from which one statement with arrays is faster than a statement for each.
const many = 6

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, b store.Batch, decide func(store.Loaded) (store.Writes, error)) error {
	s.widen(!b.Light)
	var decision error
	var writes store.Writes
	again := b.Again
	err := s.onTheSpot(ctx, func() error {
		var l *loading
		joined := false
		_, err := s.write(ctx, job{
			read: func(link *link, batch *pgx.Batch) { l = s.load(link, batch, b) },
			more: func() bool {
				if l.err != nil {
					return false
				}
				read := b
				if again != nil && !joined {
					b, joined = again(), true
				}
				b = l.wanting(b)
				return beyond(b.Find, read.Find) || beyond(b.Keys, read.Keys) || beyond(b.Runners, read.Runners) ||
					beyond(b.Requests, read.Requests) || beyond(b.Marks, read.Marks) || b.Nudges > read.Nudges
			},
			write: func(batch *pgx.Batch) (bool, error) {
				if l.err != nil {
					return false, l.err
				}
				w, err := decide(l.Loaded)
				if decision = err; err != nil || w.Empty() {
					return false, nil
				}
				writes = w
				s.save(batch, &w)
				s.tell(batch, w.Wake)
				return true, nil
			},
			quiet: func() bool { return writes.Quiet() },
		})
		return err
	})
	switch {
	case err == nil:
		s.side.ring(writes.Wake)
		return decision // unchanged, not named by the store
	case claimRefused(err):
		return s.whoClaims(ctx, writes.Claim, err)
	}
	return errors.Join(decision, err)
}

// beyond reports whether wanted has elements that read lacks. The common case, in which wanted begins with
// read, is fast.
func beyond[T comparable](wanted, read []T) bool {
	if n := len(read); len(wanted) >= n && slices.Equal(wanted[:n], read) {
		return len(wanted) > n
	}
	return slices.ContainsFunc(wanted, func(w T) bool { return !slices.Contains(read, w) })
}

// Renew implements store.Store. It takes neither the lock nor a seq, and doesn't wait for a disk
// or a standby: if a crash of the server undoes a renewal, the next one makes up for it.
func (s *Store) Renew(ctx context.Context, r store.RunnerRecord) error {
	if err := s.upToDate(); err != nil {
		return err
	}
	defer s.endAside()
	return s.useInTime(ctx, s.toRenew, func(l *link) error {
		b := &pgx.Batch{}
		b.Queue(lazily)
		s.saveRunner(b, &r)
		if l.direct && !s.wide.Load() {
			b.Queue("SELECT " + selectTight).QueryRow(func(row pgx.Row) error { return row.Scan(&l.tight, nil) })
		}
		return l.conn.SendBatch(ctx, b).Close()
	})
}

func (s *Store) save(b *pgx.Batch, w *store.Writes) {
	saveRecords(b, w.Insert, s.sql.insert, s.sql.insertMany)
	saveRecords(b, w.Update, s.sql.update, s.sql.updateMany)
	s.saveQueue(b, w.Insert)
	s.saveQueue(b, w.Update)
	if len(w.Free) > 0 {
		b.Queue(s.sql.free, w.Free)
	}
	if len(w.Claim) > 0 {
		keys, actions := make([]string, len(w.Claim)), make([]string, len(w.Claim))
		for i, c := range w.Claim {
			keys[i], actions[i] = c.Key, c.Action
		}
		b.Queue(s.sql.claim, s.sql.keyLocks, keys, actions)
	}
	if len(w.Adopted) > 0 {
		b.Queue(s.sql.adopted, w.Adopted)
	}
	for i := range w.Runners {
		s.saveRunner(b, &w.Runners[i])
	}
	for i := range w.Answers {
		a := &w.Answers[i]
		b.Queue(s.sql.saveAnswer, a.By, a.Key, a.Action, a.Hash, a.Body, time.Now().UnixMilli())
	}
	s.saveSaved(b, w)
	if !w.Quiet() {
		b.Queue(s.sql.setSeq, int64(w.Head))
	}
}

func (s *Store) saveRunner(b *pgx.Batch, r *store.RunnerRecord) {
	b.Queue(s.sql.runner, r.ID, r.Host, int64(r.PID), r.BootID, r.PIDNamespace, int64(r.StartTime),
		r.Lease.Milliseconds(), time.Now().UnixMilli(), r.Work)
}

// saveRecords queues the records: few with one statement each, many with one statement at once.
func saveRecords(b *pgx.Batch, records []store.Record, each, atOnce string) {
	if len(records) < many {
		for i := range records {
			r := &records[i]
			b.Queue(each, r.ID, int64(r.Seq), int64(r.Status), r.UpdatedAt, runnerOf(r), encode(nil, r), definedOf(r))
		}
		return
	}
	n := len(records)
	ids, runners, data, defined := make([]string, n), make([]*string, n), make([][]byte, n), make([]*string, n)
	seqs, statuses, updates := make([]int64, n), make([]int64, n), make([]int64, n)
	var all []byte
	for i := range records {
		r := &records[i]
		begin := len(all)
		all = encode(all, r)
		ids[i], runners[i], data[i] = r.ID, runnerOf(r), all[begin:len(all):len(all)]
		seqs[i], statuses[i], updates[i], defined[i] = int64(r.Seq), int64(r.Status), r.UpdatedAt, definedOf(r)
	}
	b.Queue(atOnce, ids, seqs, statuses, updates, runners, data, defined)
}

func runnerOf(r *store.Record) *string {
	id := r.NamedRunner()
	if id == "" && r.Runner == nil {
		return nil
	}
	return &id
}

func definedOf(r *store.Record) *string {
	if text := store.EncodeDefined(r); text != "" {
		return &text
	}
	return nil
}
