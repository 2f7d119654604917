package postgres

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kettubot/kapi"
)

// oldest is the oldest version of PostgreSQL that the store works with.
const oldest = 140000

//go:embed schema/*.sql
var schema embed.FS

// lockOf returns the number of the advisory lock that every write transaction takes. Each schema of a
// database has its own.
func lockOf(schema string) int64 {
	sum := sha256.Sum256([]byte("kapi " + schema))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

// prepare creates or migrates the tables, and begins a new epoch if the history was moved here. If there
// is nothing to do, it writes nothing and doesn't wait for the lock.
func (s *Store) prepare(ctx context.Context) error {
	return s.useInTime(ctx, s.toWrite, func(l *link) error {
		if ready, err := s.known(ctx, l); ready || err != nil && l.broken() {
			return err
		}
		if err := checkServer(ctx, l.conn); err != nil {
			return err
		}
		state, err := s.inspect(ctx, l.conn)
		switch {
		case err != nil:
			return err
		case len(state.missing) > 0:
			err = s.migrate(ctx, l)
		case !state.goesOn:
			err = s.beginEpoch(ctx, l)
		}
		if err == nil {
			_, err = s.known(ctx, l)
			err = unlessRefused(err)
		}
		return err
	})
}

// known looks with one query whether the schema is as this build knows it, so that there is nothing else to do or to
// check, and learns the store's identity. It is false, also with an error, if the other checks have to find out more.
func (s *Store) known(ctx context.Context, l *link) (bool, error) {
	var version *int // nil is a missing row
	var server, found int
	var goesOn bool
	var table, database, encoding string
	var secret *string
	err := l.conn.QueryRow(ctx, s.sql.whole, pgx.QueryExecModeExec, l.cluster, s.schema, tables()).Scan(&version, &secret, &goesOn, &table, &database, &server, &encoding, &found)
	if err != nil || version == nil || secret == nil {
		return false, err
	}
	s.side.identify(sideName(*secret, table, database, s.schema))
	return *version == s.version && goesOn && found == len(tables()) && checkVersion(server, encoding) == nil, nil
}

// unlessRefused returns err, unless it is an answer of the server's.
func unlessRefused(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) || errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

func checkServer(ctx context.Context, conn *pgx.Conn) error {
	var version int
	var encoding string
	err := conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_encoding')`).Scan(&version, &encoding)
	if err != nil {
		return err
	}
	return checkVersion(version, encoding)
}

func checkVersion(version int, encoding string) error {
	if version < oldest {
		return fmt.Errorf("%w: it is PostgreSQL %d, kapi needs %d or later", kapi.ErrUnavailable, version/10000, oldest/10000)
	}
	if encoding != "UTF8" {
		return fmt.Errorf("%w: the database's encoding is %s, kapi needs UTF8", kapi.ErrUnavailable, encoding)
	}
	return nil
}

// A state is what inspect found out about a schema.
type state struct {
	schema  bool     // it exists
	missing []string // the migrations that it lacks
	goesOn  bool     // its history is at the recorded place
}

// inspect returns the state of the schema. It refuses a schema that isn't kapi's, or too new.
func (s *Store) inspect(ctx context.Context, q querier) (found state, err error) {
	steps, err := fs.Glob(schema, "schema/*.sql")
	if err != nil {
		return found, err
	}
	var others int
	var versioned bool
	err = q.QueryRow(ctx, `SELECT count(*) > 0,
			coalesce(bool_or(EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'version')), false),
			coalesce(sum((SELECT count(*) FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'S'))), 0)::int
		FROM pg_namespace n WHERE nspname = $1`, s.schema).Scan(&found.schema, &versioned, &others)
	switch {
	case err != nil:
		return found, err
	case !versioned && others > 0:
		return found, fmt.Errorf("%w: the schema %s has tables, but not kapi's table of its version: it is another program's, or was restored in part",
			kapi.ErrUnavailable, s.schema)
	case !versioned:
		found.missing = steps
		return found, nil
	}
	var version int
	switch err := q.QueryRow(ctx, s.sql.version).Scan(&version); {
	case errors.Is(err, pgx.ErrNoRows):
		return found, fmt.Errorf("%w: kapi's table of its version is empty in schema %s: it was restored in part", kapi.ErrUnavailable, s.schema)
	case err != nil:
		return found, err
	case version < 0:
		return found, tooNew(version, len(steps))
	case version > len(steps): // this build may still be able to report in it
		var least int
		if err := q.QueryRow(ctx, s.sql.minReport).Scan(&least); err != nil || least > len(steps) {
			return found, tooNew(version, len(steps))
		}
		version = len(steps)
	}
	found.missing = steps[version:]
	if len(found.missing) > 0 {
		return found, nil
	}
	return found, s.inspectTables(ctx, q, &found)
}

// tooNew returns the error for a schema that this build can't use.
func tooNew(version, known int) error {
	return fmt.Errorf("%w: it is from a newer kapi (schema %d, this one knows %d)", kapi.ErrUnavailable, version, known)
}

// admit checks the least versions that a schema demands for reporting and for starting actions. noStarts
// is the reason why this build may only report. If it may not even report, admit returns an error.
func (s *Store) admit(minReport, minStart int) (noStarts, err error) {
	s.least.Store(int64(minReport))
	switch {
	case minReport > s.version:
		return nil, tooNew(minReport, s.version)
	case minStart > s.version:
		return fmt.Errorf("%w: a newer kapi has changed it (it wants schema %d, this one knows %d): "+
			"this one still reports what it runs, and starts nothing more; use the newer one", kapi.ErrUnavailable, minStart, s.version), nil
	}
	return nil, nil
}

// upToDate refuses a write by this build if an earlier read of the head has shown that it is too old. It
// is for writes that don't read the head themselves.
func (s *Store) upToDate() error {
	if least := int(s.least.Load()); least > s.version {
		return s.fail(tooNew(least, s.version))
	}
	return nil
}

// inspectTables refuses a schema that lacks a table or the row of head.
func (s *Store) inspectTables(ctx context.Context, q querier, found *state) error {
	var lacks []string
	err := q.QueryRow(ctx, `SELECT coalesce(array_agg(name), '{}') FROM unnest($2::text[]) AS name WHERE NOT EXISTS
			(SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = name)`,
		s.schema, tables()).Scan(&lacks)
	if err != nil {
		return err
	}
	if len(lacks) > 0 {
		return fmt.Errorf("%w: the schema %s lacks tables (%s): it was restored in part", kapi.ErrUnavailable, s.schema, strings.Join(lacks, ", "))
	}
	var cluster string
	if err := unlessRefused(q.QueryRow(ctx, selectCluster).Scan(&cluster)); err != nil { // the user may not read it
		return err
	}
	err = q.QueryRow(ctx, s.sql.goesOn, cluster).Scan(&found.goesOn)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%w: kapi's table head is empty in schema %s: it was restored in part", kapi.ErrUnavailable, s.schema)
	}
	return err
}

// tables are the tables of a schema, besides that of its version.
func tables() []string {
	return []string{
		"head", "actions", "keys", "runners", "observations", "tokens", "secrets", "answers", "writers", "starts", "queue",
		"saved", "marks", "operations", "offers",
	}
}

// A querier is a connection or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// migrate migrates the schema to this version, in one transaction. If several processes try at once, the
// lock makes the first one do it.
func (s *Store) migrate(ctx context.Context, l *link) error {
	tx, err := l.conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if _, err := tx.Exec(ctx, settings, s.limits(ctx)...); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, takeLock, s.sql.lock); err != nil {
		return err
	}
	state, err := s.inspect(ctx, tx)
	if err != nil || len(state.missing) == 0 {
		return err
	}
	quoted := pgx.Identifier{s.schema}.Sanitize()
	script := ""
	if !state.schema {
		script += "CREATE SCHEMA " + quoted + ";\n"
	}
	first := strings.HasSuffix(state.missing[0], "0001.sql")
	if first {
		script += "CREATE TABLE " + quoted + ".version (version integer NOT NULL);\nINSERT INTO " + quoted + ".version VALUES (0);\n"
	}
	for _, name := range state.missing {
		step, err := schema.ReadFile(name)
		if err != nil {
			return err
		}
		script += strings.ReplaceAll(string(step), "kapi.", quoted+".")
	}
	if _, err := tx.Exec(ctx, script, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("make schema %s: %w", s.schema, explain(err))
	}
	if first {
		if err := s.beginHistory(ctx, tx, quoted, l.cluster); err != nil {
			return err
		}
	}
	if err := s.fillQueue(ctx, tx); err != nil {
		return err
	}
	steps, err := fs.Glob(schema, "schema/*.sql")
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, s.sql.migrated, len(steps)); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// beginHistory writes the epoch and the secret of new tables.
func (s *Store) beginHistory(ctx context.Context, tx pgx.Tx, quoted, cluster string) error {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	if _, err := tx.Exec(ctx, `INSERT INTO `+quoted+`.secrets (one, signing) VALUES (1, $1)`, secret); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, s.sql.beginEpoch, cluster, newID(), 0)
	return err
}

// fillQueue adds the actions that wait to the table queue.
func (s *Store) fillQueue(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, s.sql.allPending)
	if err != nil {
		return err
	}
	pending, err := pgx.CollectRows(rows, scanFound)
	if err != nil {
		return err
	}
	b := &pgx.Batch{}
	s.saveQueue(b, pending)
	return tx.SendBatch(ctx, b).Close()
}
