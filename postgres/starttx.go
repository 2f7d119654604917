package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

const (
	// claimWithin is how long StartTx waits for other transactions that claim one of its keys.
	claimWithin = 5 * time.Second
	claimPause  = 20 * time.Millisecond
)

// StartTx starts an action inside the caller's own transaction, which must be on the database of p's
// store: the action starts if and only if the transaction is committed. StartTx claims the keys, records
// the start and returns the action's id. After the commit a peer gives the action its seq, as pending,
// and then op runs in this process, as with Peer.Start.
//
// However long the transaction stays open, it doesn't delay starts with other keys. A start with one of
// its keys waits, and is then refused with an error that wraps kapi.ErrUnavailable.
//
// The errors are those of Peer.Start. Unless tx itself has failed, it can still be used after an error.
// Spec.Wait and Spec.DismissFailed are refused. The transaction's user needs some rights on kapi's
// tables (docs/postgres.md). The transaction can't be prepared for a two-phase commit.
func StartTx(ctx context.Context, tx pgx.Tx, p *peer.Peer, spec kapi.Spec, op kapi.Operation) (id string, err error) {
	d, err := p.Prepare(ctx, spec, op)
	if err != nil {
		return "", err
	}
	s, ok := d.Store.(*Store)
	if !ok {
		d.Discard()
		return "", fmt.Errorf("start in a transaction: the peer's store is a %T, not PostgreSQL", d.Store)
	}
	xid, err := s.recordSoon(ctx, tx, d)
	if err != nil {
		d.Discard()
		return "", err
	}
	d.Await(func(ctx context.Context) (bool, error) { return s.undone(ctx, d.ID, xid) })
	return d.ID, nil
}

// recordSoon records a start, unless its keys are held. While another transaction claims one of them, it
// tries again, for claimWithin.
func (s *Store) recordSoon(ctx context.Context, tx pgx.Tx, d *peer.Prepared) (xid string, err error) {
	end := time.After(claimWithin)
	for {
		err := d.Check(ctx)
		if err == nil {
			xid, err = s.record(ctx, tx, d)
		}
		var busy *store.BusyError
		if !errors.As(err, &busy) {
			return xid, err
		}
		select {
		case <-time.After(claimPause):
		case <-end:
			return "", s.fail(err)
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// record records a start in a savepoint, so that the caller's transaction survives a failure.
func (s *Store) record(ctx context.Context, tx pgx.Tx, d *peer.Prepared) (xid string, err error) {
	err = pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		if xid, err = s.check(ctx, tx, d.Epoch); err != nil {
			return err
		}
		b := &pgx.Batch{}
		actions := make([]string, len(d.Keys))
		for i := range actions {
			actions[i] = d.ID
		}
		b.Queue(s.sql.claim, s.sql.keyLocks, d.Keys, actions)
		b.Queue(s.sql.record, d.ID, strings.Join(d.Keys, " "), string(d.Data))
		b.Queue(s.sql.notify)
		return tx.SendBatch(ctx, b).Close()
	})
	if claimRefused(err) {
		return "", &store.BusyError{Keys: d.Keys}
	}
	return xid, err
}

// check returns the id of a transaction. It refuses a transaction that is on another database, and one
// in a schema in which this build may start nothing.
func (s *Store) check(ctx context.Context, tx pgx.Tx, epoch string) (xid string, err error) {
	var there string
	var minReport, minStart int
	err = tx.QueryRow(ctx, s.sql.epochAndXID).Scan(&there, &xid, &minReport, &minStart)
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && (refused.Code == "42P01" || refused.Code == "3F000"), err == nil && there != epoch:
		return "", errors.New("start in a transaction: the transaction is on another database than the peer's store")
	case err != nil:
		return "", err
	}
	noStarts, err := s.admit(minReport, minStart)
	return xid, errors.Join(noStarts, err)
}

// undone reports whether the transaction that was to record a start has ended without recording it.
// It reads the transaction's status before it looks for the start: once the status is "committed", the
// start can be seen.
func (s *Store) undone(ctx context.Context, id, xid string) (bool, error) {
	var status *string
	err := s.read(ctx, func(_ *link, b *pgx.Batch) {
		b.Queue(`SELECT pg_xact_status($1::text::xid8)`, xid).QueryRow(func(row pgx.Row) error { return row.Scan(&status) })
	})
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "22023" { // the id is above this server's: a failover lost the transaction
		err, status = nil, nil
	}
	if err != nil || status != nil && *status == "in progress" {
		return false, err
	}
	var there bool
	err = s.read(ctx, func(_ *link, b *pgx.Batch) {
		b.Queue(s.sql.recordedOrAdopted, id).QueryRow(func(row pgx.Row) error { return row.Scan(&there) })
	})
	return !there, err
}
