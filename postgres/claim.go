package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kettubot/kapi/internal/store"
)

// Keys are claimed by kapi's own transactions, one at a time, and by transactions of embedding programs
// (StartTx), which may stay open. An insert of a key that an open transaction has inserted would block
// until that transaction ends, while holding the write lock. So a transaction that claims a key first
// takes an advisory lock for it, which it holds until it ends, and kapi never waits for such a lock.

// claimRefused reports whether the transaction failed because of a key that it claimed.
func claimRefused(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && (isTaken(refused) ||
		refused.Code == "23502" && refused.TableName == "keys" && refused.ColumnName == "action")
}

// isTaken reports whether the key is in the table already, so that an action or a recorded start holds it.
func isTaken(refused *pgconn.PgError) bool { return refused.ConstraintName == "keys_once" }

// whoClaims returns the error for a commit that failed because of one of its claims: a *store.BusyError
// with the keys that transactions of embedding programs claim or have just claimed, or
// store.ErrKeyTaken.
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
	case !taken: // the other transaction has ended meanwhile, or the keys could not be read
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
