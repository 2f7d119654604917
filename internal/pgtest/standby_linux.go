package pgtest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Standby starts a standby of the server, with the same options, that is stopped when t ends. If it is
// synchronous, the server from then on commits nothing that the standby doesn't have on disk.
func (s *Server) Standby(t testing.TB, synchronous bool) *Server {
	t.Helper()
	standby := &Server{options: s.options, bin: s.bin, run: s.run, port: 5432}
	var err error
	if standby.folder, err = standby.makeFolder(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Stop)
	backup := standby.command("pg_basebackup", "--pgdata", standby.data(), "--host", s.folder, "--port", strconv.Itoa(s.port),
		"--username=postgres", "--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--no-sync")
	if out, err := backup.CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v: %s", err, out)
	}
	if err := standby.Start(); err != nil {
		t.Fatal(err)
	}
	if synchronous {
		s.Exec(t, "postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'; SELECT pg_reload_conf()")
	}
	s.AwaitStandby(t, synchronous)
	return standby
}

// AwaitStandby waits until a standby streams from the server.
func (s *Server) AwaitStandby(t testing.TB, synchronous bool) {
	t.Helper()
	s.awaitReplication(t, "SELECT count(*) > 0 FROM pg_stat_replication WHERE state = 'streaming' AND (sync_state = 'sync') = "+strconv.FormatBool(synchronous))
}

// AwaitFlush waits until the standbys have everything committed up to now on disk.
func (s *Server) AwaitFlush(t testing.TB) {
	t.Helper()
	var now string
	s.Query(t, "postgres", "SELECT pg_current_wal_lsn()::text", &now)
	s.awaitReplication(t, "SELECT coalesce(bool_and(flush_lsn >= '"+now+"'), false) FROM pg_stat_replication")
}

func (s *Server) awaitReplication(t testing.TB, query string) {
	t.Helper()
	for end := time.Now().Add(deadline); ; time.Sleep(5 * time.Millisecond) {
		var yes bool
		if s.Query(t, "postgres", query, &yes); yes {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the standby did not follow within %v: %s", deadline, s.Log())
		}
	}
}

// Promote makes a standby the primary, and returns when it accepts writes.
func (s *Server) Promote() error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var promoted bool
	err = conn.QueryRow(ctx, "SELECT pg_promote(true, $1)", int(deadline.Seconds())).Scan(&promoted)
	if err == nil && !promoted {
		err = fmt.Errorf("the standby was not promoted within %v: %s", deadline, s.Log())
	}
	return err
}

// DSN names a database on several servers that listen on the loopback address. Clients use the one that
// accepts writes.
func DSN(database string, servers ...*Server) string {
	hosts := make([]string, len(servers))
	for i, s := range servers {
		hosts[i] = s.Address()
	}
	return "postgres://postgres@" + strings.Join(hosts, ",") + "/" + database
}
