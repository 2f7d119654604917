package postgres

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kettubot/kapi"
)

// many is from how many rows on one statement with arrays is faster than one for each.
const many = 6

// Commit implements kapi.Store.
func (s *Store) Commit(ctx context.Context, b kapi.Batch, decide func(kapi.Loaded) (kapi.Writes, error)) error {
	var decision error
	var claims []kapi.Claim
	err := s.onTheSpot(ctx, func() error {
		var l *loading
		_, err := s.write(ctx, job{
			locked: func() {
				if b.Again != nil {
					b = b.Again()
				}
			},
			read: func(link *link, batch *pgx.Batch) { l = s.load(link, batch, b) },
			write: func(batch *pgx.Batch) (bool, error) {
				if l.err != nil {
					return false, l.err
				}
				w, err := decide(l.Loaded)
				if decision = err; err != nil || len(w.Insert) == 0 && len(w.Update) == 0 && len(w.Runners) == 0 {
					return false, nil
				}
				claims = w.Claim
				s.save(batch, &w)
				return true, nil
			},
		})
		return err
	})
	switch {
	case err == nil:
		return decision // as it is
	case claimRefused(err):
		return s.whoClaims(ctx, claims, err)
	}
	return errors.Join(decision, err)
}

// Renew implements kapi.Store. It takes neither the lock nor a seq, and doesn't wait for a disk
// or a standby: a renewal that a crash of the server takes back is one that came late, and the
// next is on its way.
func (s *Store) Renew(ctx context.Context, r kapi.RunnerRecord) error {
	return s.useInTime(ctx, s.renewer, func(l *link) error {
		b := &pgx.Batch{}
		b.Queue(lazily)
		s.saveRunner(b, &r)
		return l.conn.SendBatch(ctx, b).Close()
	})
}

func (s *Store) save(b *pgx.Batch, w *kapi.Writes) {
	saveRecords(b, w.Insert, len(columns()), s.sql.insert, s.sql.insertMany)
	saveRecords(b, w.Update, changing, s.sql.update, s.sql.updateMany)
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
	b.Queue(s.sql.setSeq, int64(w.Head))
}

func (s *Store) saveRunner(b *pgx.Batch, r *kapi.RunnerRecord) {
	b.Queue(s.sql.runner, r.ID, r.Host, int64(r.PID), r.BootID, r.PIDNamespace, int64(r.StartTime),
		r.Lease.Milliseconds(), time.Now().UnixMilli())
}

// saveRecords queues the first n values of each record, for one or the other statement.
func saveRecords(b *pgx.Batch, records []kapi.Record, n int, each, atOnce string) {
	if len(records) >= many {
		b.Queue(atOnce, transpose(records, n)...)
		return
	}
	for i := range records {
		b.Queue(each, values(&records[i])[:n]...)
	}
}

// values are those of a record's columns.
func values(r *kapi.Record) []any {
	var runner kapi.Runner
	var runnerID *string
	if r.Runner != nil {
		runner, runnerID = *r.Runner, &r.Runner.ID
	}
	var exitCode *int64
	if r.ExitCode != nil {
		code := int64(*r.ExitCode)
		exitCode = &code
	}
	return []any{
		r.ID, int64(r.Seq), int64(r.Status), r.Progress, r.State, strings.Join(r.Keys, " "), r.UpdatedAt, r.StartedAt,
		runnerID, runner.Host, int64(runner.PID), runner.HeardAt, r.CancelRequestedAt, r.CancelledBy, exitCode,
		int64(r.Fence), flags(r), r.Silence, strings.Join(r.Waits, " "), int64(r.Ticket),
		r.Title, r.Description, r.CreatedAt,
	}
}

// transpose makes an array of each column.
func transpose(records []kapi.Record, n int) []any {
	all := make([]any, n)
	for i := range records {
		for c, value := range values(&records[i])[:n] {
			switch value := value.(type) {
			case string:
				all[c] = grow(all[c], value, len(records))
			case int64:
				all[c] = grow(all[c], value, len(records))
			case *string:
				all[c] = grow(all[c], value, len(records))
			case *int64:
				all[c] = grow(all[c], value, len(records))
			case *float64:
				all[c] = grow(all[c], value, len(records))
			}
		}
	}
	return all
}

func grow[T any](column any, value T, room int) []T {
	all, ok := column.([]T)
	if !ok {
		all = make([]T, 0, room)
	}
	return append(all, value)
}

const (
	flagReleaseOnFailure = 1 << iota
	flagGivenUp
	flagLateEnd
	flagLeaveRunning
	flagDismissFailed
)

func flags(r *kapi.Record) (f int64) {
	if r.ReleaseOnFailure {
		f |= flagReleaseOnFailure
	}
	if r.GivenUp {
		f |= flagGivenUp
	}
	if r.LateEnd {
		f |= flagLateEnd
	}
	if r.LeaveRunning {
		f |= flagLeaveRunning
	}
	if r.DismissFailed {
		f |= flagDismissFailed
	}
	return f
}
