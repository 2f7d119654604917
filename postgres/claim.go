package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kettubot/kapi/internal/store"
)

// Keys are claimed by kapi's own transactions, one at a time, and by those of users (StartTx),
// which may stay open. An insert of a key that an open transaction has inserted would wait for the
// end of that, with the write lock in hand. So whoever claims a key first takes a lock that stands
// for it, which lasts until its transaction ends, and kapi never waits for that.

// claimRefused reports whether the transaction failed for a key that it claimed.
func claimRefused(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && (isTaken(refused) ||
		refused.Code == "23502" && refused.TableName == "keys" && refused.ColumnName == "action")
}

// isTaken: it is held by an action.
func isTaken(refused *pgconn.PgError) bool { return refused.ConstraintName == "keys_once" }

// whoClaims finds out which keys users' transactions claim or have just claimed, when a commit
// failed for one of its claims.
func (s *Store) whoClaims(ctx context.Context, claims []store.Claim, cause error) error {
	keys := make([]string, len(claims))
	for i, c := range claims {
		keys[i] = c.Key
	}
	var open, recorded []string
	err := s.read(ctx, func(_ *link, b *pgx.Batch) {
		b.Queue(s.sql.busy, s.sql.keyLocks, keys).Query(collect(&open))
		b.Queue(s.sql.recordedKeys, keys).Query(collect(&recorded))
	})
	var refused *pgconn.PgError
	taken := errors.As(cause, &refused) && isTaken(refused)
	switch busy := append(open, recorded...); {
	case err == nil && len(busy) > 0:
		return &store.BusyError{Keys: busy}
	case !taken: // whichever it was, it has ended meanwhile, or there was no time to find out
		return &store.BusyError{Keys: keys}
	case err != nil:
		return err
	}
	return store.ErrKeyTaken
}

func collect(into *[]string) func(pgx.Rows) error {
	return func(rows pgx.Rows) (err error) {
		*into, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	}
}
