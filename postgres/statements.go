package postgres

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// columns are those of an action, in the order of values: the id, what can change, and the rest.
func columns() [][2]string {
	return [][2]string{
		{"id", "text"},
		{"seq", "bigint"},
		{"status", "bigint"},
		{"progress", "float8"},
		{"state", "text"},
		{"keys", "text"},
		{"updated_at", "bigint"},
		{"started_at", "bigint"},
		{"runner", "text"},
		{"host", "text"},
		{"pid", "bigint"},
		{"heard_at", "bigint"},
		{"cancel_requested_at", "bigint"},
		{"cancelled_by", "text"},
		{"exit_code", "bigint"},
		{"fence", "bigint"},
		{"flags", "bigint"},
		{"silence", "text"},
		{"waits", "text"},
		{"ticket", "bigint"},
		{"title", "text"},
		{"description", "text"},
		{"created_at", "bigint"},
	}
}

// changing is how many columns an update needs: the id, and what can change.
const changing = 20

// Every transaction that writes brings its settings along: behind a PgBouncer a connection's own
// would be another client's. What a commit must wait for is raised to "on" if a role has it lower,
// and warnings must come: one of them says that a commit did not wait.
const settings = `SELECT
	set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true),
	set_config('client_min_messages', 'warning', true),
	set_config('idle_in_transaction_session_timeout', $1, true), set_config('tcp_user_timeout', $1, true),
	set_config('lock_timeout', $2, true), set_config('statement_timeout', $2, true),
	` + byIndex

// byIndex is for the planner, which would rather read the whole of a table that it last saw empty;
// and actions that ended stay there for a while.
const byIndex = `set_config('plan_cache_mode', 'force_generic_plan', true), set_config('jit', 'off', true),
	set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`

// byHash is for a statement that goes through two tables. Nothing but a COMMIT may come after it.
const byHash = `SELECT set_config('enable_hashjoin', 'on', true), set_config('enable_nestloop', 'off', true)`

const (
	// lazily is for what may be lost in a crash of the server.
	lazily = `SELECT set_config('synchronous_commit', 'off', true)`

	// takeLock says whether it had to wait for it.
	takeLock      = `SELECT CASE WHEN pg_try_advisory_xact_lock($1) THEN false ELSE pg_advisory_xact_lock($1) IS NOT NULL END`
	selectCluster = `SELECT system_identifier::text FROM pg_control_system()`

	// place is where head's history takes place now: in this very table, on a timeline. The
	// cluster is told from others where that can be known.
	place = `h.tableoid::text || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)`
)

// statements are those that name tables.
type statements struct {
	version, migrated      string
	snapshot, secret, feed string
	goesOn, beginEpoch     string
	find, beats, answers   string

	insert, insertMany, update, updateMany                                          string
	recorded, starts, adopted, record, recordedKeys, recordedOrAdopted, epochAndXID string

	free, claim, busy, runner, saveAnswer, setSeq string
	written, wroteBefore                          string

	runners                                  string
	answersDue, noteAnswers, deleteAnswers   string
	oldest, deleteActions, raisePurged       string
	forgetRunners, forgetWriters             string
	addToken, tokens, findToken, removeToken string
	listen, notify                           string
	lock                                     int64
	keyLocks                                 int32
	channel                                  string
}

func newStatements(schema string) statements {
	quoted := pgx.Identifier{schema}.Sanitize()
	in := func(sql string) string { return strings.ReplaceAll(sql, "kapi.", quoted+".") }
	head := `h.epoch, h.seq, h.purged, h.place = ` + place + ` AND (h.cluster = $1 OR $1 = '')`
	every, changed := columns(), columns()[:changing]
	names, all := list(every, name), list(every, inAction)
	set := func(value func(n int, name, kind string) string) string {
		return list(changed[1:], func(n int, name, kind string) string { return name + " = " + value(n+1, name, kind) })
	}
	return statements{
		version:  in(`SELECT version FROM kapi.version`),
		migrated: in(`UPDATE kapi.version SET version = $1`),

		snapshot: in(`SELECT ` + head + `, ` + all + ` FROM kapi.head h LEFT JOIN kapi.actions a ON a.status < 4`),
		secret:   in(`SELECT signing FROM kapi.secrets`),
		feed: in(`SELECT ` + head + `, ` + all + ` FROM kapi.head h LEFT JOIN kapi.actions a ON a.seq > $2 AND h.purged <= $2
			WHERE h.one = 1 ORDER BY a.seq`),
		goesOn: in(`SELECT h.place = ` + place + ` AND (h.cluster = $1 OR $1 = '') FROM kapi.head h`),
		beginEpoch: in(`UPDATE kapi.head h SET epoch = $2, seq = seq + $3, place = ` + place + `,
			cluster = CASE $1 WHEN '' THEN cluster ELSE $1 END`),
		find:  in(`SELECT ` + all + ` FROM kapi.actions a WHERE id = ANY($1)`),
		beats: in(`SELECT id, beat FROM kapi.runners WHERE id = ANY($1)`),
		answers: in(`SELECT a.sender, a.key, a.action, a.hash, a.body FROM unnest($1::text[], $2::text[]) AS r(sender, key)
			JOIN kapi.answers a ON a.sender = r.sender AND a.key = r.key`),

		insert:     in(`INSERT INTO kapi.actions (` + names + `) VALUES (` + list(every, parameter) + `)`),
		insertMany: in(`INSERT INTO kapi.actions (` + names + `) SELECT * FROM unnest(` + list(every, array) + `)`),
		update:     in(`UPDATE kapi.actions SET ` + set(parameter) + ` WHERE id = $1`),
		updateMany: in(`UPDATE kapi.actions a SET ` + set(func(_ int, name, _ string) string { return "u." + name }) +
			` FROM unnest(` + list(changed, array) + `) AS u (` + list(changed, name) + `) WHERE a.id = u.id`),
		free: in(`DELETE FROM kapi.keys WHERE key = ANY($1)`),
		// A key that a user's transaction claims which is still open would be waited for: it is no
		// action's instead, which the table refuses.
		claim: in(`INSERT INTO kapi.keys (key, action) SELECT key, CASE WHEN ` + tryKey + ` THEN action END
			FROM unnest($2::text[], $3::text[]) AS c (key, action)`),
		busy: `SELECT key FROM unnest($2::text[]) AS c (key) WHERE NOT ` + tryKey,

		starts:            in(`SELECT id, keys, data FROM kapi.starts LIMIT 256`),
		recorded:          in(`SELECT id FROM kapi.starts LIMIT 16`),
		adopted:           in(`DELETE FROM kapi.starts WHERE id = ANY($1)`),
		record:            in(`INSERT INTO kapi.starts (id, keys, data) VALUES ($1, $2, $3)`),
		recordedKeys:      in(`SELECT key FROM kapi.keys JOIN kapi.starts s ON s.id = action WHERE key = ANY($1)`),
		epochAndXID:       in(`SELECT epoch, pg_current_xact_id()::text FROM kapi.head`),
		recordedOrAdopted: in(`SELECT EXISTS (SELECT FROM kapi.starts WHERE id = $1) OR EXISTS (SELECT FROM kapi.actions WHERE id = $1)`),

		runner: in(`INSERT INTO kapi.runners AS r (id, host, pid, boot_id, pid_namespace, start_time, lease_ms, beat, heard_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8)
			ON CONFLICT (id) DO UPDATE SET beat = r.beat + 1, heard_at = excluded.heard_at, lease_ms = excluded.lease_ms`),
		saveAnswer: in(`INSERT INTO kapi.answers (sender, key, action, hash, body, seen) VALUES ($1, $2, $3, $4, $5, $6)`),
		setSeq:     in(`UPDATE kapi.head SET seq = $1`),
		written: in(`INSERT INTO kapi.writers (id, n, at) VALUES ($1, $2, ` + clock + `)
			ON CONFLICT (id) DO UPDATE SET n = excluded.n, at = excluded.at`),
		wroteBefore: in(`SELECT n FROM kapi.writers WHERE id = $1`),

		runners: in(`SELECT id, host, pid, boot_id, pid_namespace, start_time, lease_ms, beat, heard_at FROM kapi.runners WHERE id = ANY($1)`),

		answersDue:    in(`SELECT EXISTS (SELECT FROM kapi.answers WHERE seen < $2 OR seen < $1 AND ` + ofOngoing + `)`),
		noteAnswers:   in(`UPDATE kapi.answers SET seen = $2 WHERE seen < $1 AND ` + ofOngoing),
		deleteAnswers: in(`DELETE FROM kapi.answers WHERE seen < $1`),
		oldest:        in(`SELECT seq, updated_at FROM kapi.actions WHERE status >= 4 ORDER BY seq LIMIT $1`),
		deleteActions: in(`DELETE FROM kapi.actions WHERE seq = ANY($1)`),
		raisePurged:   in(`UPDATE kapi.head SET purged = greatest(purged, $1)`),
		forgetRunners: in(`DELETE FROM kapi.runners r WHERE heard_at < $1 AND NOT EXISTS (SELECT FROM kapi.actions a WHERE a.runner = r.id)`),
		forgetWriters: in(`DELETE FROM kapi.writers WHERE at < ` + clock + ` - $1::bigint`),

		addToken:    in(`INSERT INTO kapi.tokens (id, name, type, permissions, created_at, expires_at, hash) VALUES ($1, $2, $3, $4, $5, $6, $7)`),
		tokens:      in(`SELECT ` + tokenColumns + ` FROM kapi.tokens ORDER BY created_at, id`),
		findToken:   in(`SELECT ` + tokenColumns + ` FROM kapi.tokens WHERE id = $1`),
		removeToken: in(`DELETE FROM kapi.tokens WHERE id = $1`),

		listen:   `LISTEN ` + quoted,
		notify:   `NOTIFY ` + quoted,
		lock:     lockOf(schema),
		keyLocks: int32(lockOf(schema) >> 32),
		channel:  schema,
	}
}

const (
	// tryKey takes the lock that a key is claimed under, until the transaction ends, and doesn't
	// wait for it. Two keys may share one; they wait for each other then, and no harm is done.
	tryKey = `pg_try_advisory_xact_lock($1, hashtext(key))`

	// clock is the server's, in milliseconds: the one clock that is the same for all.
	clock = `(extract(epoch FROM now()) * 1000)::bigint`

	ofOngoing    = `action IN (SELECT id FROM kapi.actions WHERE status < 4)`
	tokenColumns = `id, name, type, permissions, created_at, expires_at, hash`
)

// list lists columns, each in a form that is given its number from 1, name and type.
func list(columns [][2]string, form func(n int, name, kind string) string) string {
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = form(i+1, c[0], c[1])
	}
	return strings.Join(all, ", ")
}

func name(_ int, name, _ string) string { return name }

func inAction(_ int, name, _ string) string { return "a." + name }

func parameter(n int, _, _ string) string { return fmt.Sprintf("$%d", n) }

func array(n int, _, kind string) string { return fmt.Sprintf("$%d::%s[]", n, kind) }
