package postgres

import (
	"strings"

	"github.com/jackc/pgx/v5"
)

// settings is sent with each write transaction, because behind a PgBouncer the settings of a connection
// would apply to other clients. It raises synchronous_commit to "on" if a role has it lower, and enables
// warnings, because one of them says that a commit did not wait for its standby.
const settings = `SELECT
	set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true),
	set_config('client_min_messages', 'warning', true),
	set_config('idle_in_transaction_session_timeout', $1, true), set_config('tcp_user_timeout', $1, true),
	set_config('lock_timeout', $2, true), set_config('statement_timeout', $2, true),
	` + byIndex

// byIndex makes the planner use the indexes. Otherwise it reads the whole table if its statistics are
// from when the table was empty, and the table also has actions that have ended.
const byIndex = `set_config('plan_cache_mode', 'force_generic_plan', true), set_config('jit', 'off', true),
	set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
	set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`

// byHash is sent before statements that join two whole tables. Only such statements and a COMMIT may
// come after it.
const byHash = `SELECT set_config('enable_hashjoin', 'on', true), set_config('enable_nestloop', 'off', true)`

const (
	// lazily is sent before writes that a crash of the server may undo.
	lazily = `SELECT set_config('synchronous_commit', 'off', true)`

	takeLock      = `SELECT pg_advisory_xact_lock($1)`
	selectCluster = `SELECT (SELECT system_identifier::text FROM pg_control_system())`
	// selectTight says whether three quarters of the connections are in use, and which process of the server says so.
	selectTight = `(SELECT count(*) FROM pg_stat_get_backend_idset()) * 4 >
		(current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int) * 3, pg_backend_pid()`

	// place is the current place of head's history: the oid of the table and the timeline. The
	// cluster's identifier is compared separately, because the user may not be able to read it.
	place = `h.tableoid::text || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)`
)

// statements are the SQL statements that name tables, and the names that depend on the schema.
type statements struct {
	version, migrated      string
	minReport, whole       string
	snapshot, secret, feed string
	some, head             string
	queued, holders        string
	joinQueue, leaveQueue  string
	allPending             string
	goesOn, beginEpoch     string
	changed                string
	find, beats, answers   string

	insert, insertMany, update, updateMany                                          string
	recorded, starts, adopted, record, recordedKeys, recordedOrAdopted, epochAndXID string

	free, claim, busy, runner, saveAnswer, setSeq string
	written, wroteBefore                          string

	runners, observed, observe, appendAsked  string
	answersDue, noteAnswers, deleteAnswers   string
	oldest, deleteActions, raisePurged       string
	floor, raiseFloor                        string
	forgetRunners, forgetWriters             string
	forgetObservations                       string
	addToken, tokens, findToken, removeToken string
	endSessions                              string

	saved, save, unsave, disposeSaved, moveSaved string
	marks, countSave, disposeMarks, moveMark     string
	operations, offering                         string
	operate, offer, withdraw                     string
	operationsDue, forgetOperations              string
	forgetOffers, forgetSaved, forgetMarks       string
	freeLeftTurns                                string

	listen, unlisten, notify string
	lock                     int64
	keyLocks                 int32
	channel                  string
}

func newStatements(schema string) statements {
	quoted := pgx.Identifier{schema}.Sanitize()
	in := func(sql string) string { return strings.ReplaceAll(sql, "kapi.", quoted+".") }
	goesOn := `h.place = ` + place + ` AND (h.cluster = $1 OR $1 = '')`
	// One statement has one snapshot, so the head and the actions belong together.
	page := func(which string) string {
		return in(`SELECT h.epoch, h.seq, h.purged, ` + goesOn + `, NULL::bytea, NULL::text, h.min_report, h.min_start FROM kapi.head h WHERE h.one = 1
			UNION ALL SELECT NULL, a.seq, NULL, NULL, a.data, a.defined, NULL, NULL FROM kapi.actions a WHERE ` + which)
	}
	return statements{
		version:   in(`SELECT version FROM kapi.version`),
		minReport: in(`SELECT min_report FROM kapi.head`),
		// Not a join, whose estimated cost would make the server compile it.
		whole: in(`SELECT (SELECT version FROM kapi.version), (SELECT encode(signing, 'hex') FROM kapi.secrets), ` + goesOn + `,
			h.tableoid::text || '/' || extract(epoch FROM pg_postmaster_start_time())::text, current_database(),
			current_setting('server_version_num')::int, current_setting('server_encoding'),
			(SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $2 AND c.relname = ANY($3))
			FROM kapi.head h WHERE h.one = 1`),
		migrated: in(`UPDATE kapi.version SET version = $1`),

		snapshot: page(`a.status < 4`),
		secret:   in(`SELECT signing FROM kapi.secrets`),
		some:     page(`a.status < 4 AND a.id = ANY($2)`),
		head:     page(`false`),
		feed:     page(`a.seq > $2 AND (SELECT purged FROM kapi.head WHERE one = 1) <= $2`),
		goesOn:   in(`SELECT ` + goesOn + ` FROM kapi.head h`),
		beginEpoch: in(`UPDATE kapi.head h SET epoch = $2, seq = seq + $3, place = ` + place + `,
			cluster = CASE $1 WHEN '' THEN cluster ELSE $1 END`),
		changed: in(`SELECT epoch, seq, NULL FROM kapi.head WHERE one = 1
			UNION ALL SELECT DISTINCT NULL, 0::bigint, runner FROM kapi.actions WHERE seq > $1 AND runner IS NOT NULL`),
		find: in(`SELECT data, defined FROM kapi.actions WHERE id = ANY($1)`),
		queued: in(`SELECT a.data, a.defined FROM (SELECT DISTINCT action FROM kapi.queue WHERE key = ANY($1)) q
			JOIN kapi.actions a ON a.id = q.action WHERE a.status = 0`),
		allPending: in(`SELECT data, defined FROM kapi.actions WHERE status = 0`),
		joinQueue:  in(`INSERT INTO kapi.queue (key, ticket, action) SELECT unnest($1::text[]), $2, $3 ON CONFLICT DO NOTHING`),
		leaveQueue: in(`DELETE FROM kapi.queue WHERE ticket = $1`),
		holders: in(`SELECT w.key, k.action, a.data, a.defined FROM unnest($1::text[]) AS w(key)
			LEFT JOIN kapi.keys k ON k.key = w.key LEFT JOIN kapi.actions a ON a.id = k.action`),
		beats: in(`SELECT id, beat FROM kapi.runners WHERE id = ANY($1)`),
		answers: in(`SELECT a.sender, a.key, a.action, a.hash, a.body FROM unnest($1::text[], $2::text[]) AS r(sender, key)
			JOIN kapi.answers a ON a.sender = r.sender AND a.key = r.key`),

		insert:     in(`INSERT INTO kapi.actions (id, seq, status, updated_at, runner, data, defined) VALUES ($1, $2, $3, $4, $5, $6, $7)`),
		update:     in(`UPDATE kapi.actions SET seq = $2, status = $3, updated_at = $4, runner = $5, data = $6, defined = $7 WHERE id = $1`),
		insertMany: in(`INSERT INTO kapi.actions (id, seq, status, updated_at, runner, data, defined) ` + rows),
		updateMany: in(`UPDATE kapi.actions a SET seq = r.seq, status = r.status, updated_at = r.updated_at, runner = r.runner, data = r.data,
				defined = r.defined
			FROM (` + rows + `) AS r (id, seq, status, updated_at, runner, data, defined) WHERE a.id = r.id`),
		free: in(`DELETE FROM kapi.keys WHERE key = ANY($1)`),
		// An insert of a key that an open transaction claims would block. Such a key gets a NULL
		// action instead, which the table refuses.
		claim: in(`INSERT INTO kapi.keys (key, action) SELECT key, CASE WHEN ` + tryKey + ` THEN action END
			FROM (SELECT unnest($2::text[]), unnest($3::text[])) AS c (key, action)`),
		busy: `SELECT key FROM unnest($2::text[]) AS c (key) WHERE NOT ` + tryKey,

		starts:            in(`SELECT id, keys, data FROM kapi.starts LIMIT 256`),
		recorded:          in(`SELECT id FROM kapi.starts LIMIT 16`),
		adopted:           in(`DELETE FROM kapi.starts WHERE id = ANY($1)`),
		record:            in(`INSERT INTO kapi.starts (id, keys, data) VALUES ($1, $2, $3)`),
		recordedKeys:      in(`SELECT key FROM kapi.keys JOIN kapi.starts s ON s.id = action WHERE key = ANY($1)`),
		epochAndXID:       in(`SELECT epoch, pg_current_xact_id()::text, min_report, min_start FROM kapi.head`),
		recordedOrAdopted: in(`SELECT EXISTS (SELECT FROM kapi.starts WHERE id = $1) OR EXISTS (SELECT FROM kapi.actions WHERE id = $1)`),

		runner: in(`INSERT INTO kapi.runners AS r (id, host, pid, boot_id, pid_namespace, start_time, lease_ms, beat, heard_at, work)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9)
			ON CONFLICT (id) DO UPDATE SET beat = r.beat + 1, heard_at = excluded.heard_at, lease_ms = excluded.lease_ms,
				work = excluded.work`),
		saveAnswer: in(`INSERT INTO kapi.answers (sender, key, action, hash, body, seen) VALUES ($1, $2, $3, $4, $5, $6)`),
		setSeq:     in(`UPDATE kapi.head SET seq = $1`),
		written: in(`INSERT INTO kapi.writers (id, n, at) VALUES ($1, $2, ` + clock + `)
			ON CONFLICT (id) DO UPDATE SET n = excluded.n, at = excluded.at`),
		wroteBefore: in(`SELECT n FROM kapi.writers WHERE id = $1`),

		runners: in(`SELECT ` + runnerColumns + ` FROM kapi.runners WHERE id = ANY($1)`),

		answersDue:    in(`SELECT EXISTS (SELECT FROM kapi.answers WHERE seen < $2 OR seen < $1 AND ` + ofOngoing + `)`),
		noteAnswers:   in(`UPDATE kapi.answers SET seen = $2 WHERE seen < $1 AND ` + ofOngoing),
		deleteAnswers: in(`DELETE FROM kapi.answers WHERE seen < $1`),
		oldest: in(`SELECT seq, updated_at FROM kapi.actions WHERE seq > (SELECT floor FROM kapi.head WHERE one = 1) AND status >= 4
			ORDER BY seq LIMIT $1`),
		floor:              in(`SELECT floor, seq FROM kapi.head WHERE one = 1`),
		raiseFloor:         in(`UPDATE kapi.head SET floor = $1`),
		deleteActions:      in(`DELETE FROM kapi.actions WHERE seq = ANY($1)`),
		raisePurged:        in(`UPDATE kapi.head SET purged = greatest(purged, $1)`),
		forgetRunners:      in(`DELETE FROM kapi.runners r WHERE heard_at < $1 AND NOT EXISTS (SELECT FROM kapi.actions a WHERE a.runner = r.id)`),
		forgetObservations: in(`DELETE FROM kapi.observations o WHERE NOT EXISTS (SELECT FROM kapi.runners r WHERE r.id = o.runner)`),
		observed:           in(`SELECT runner, beat, silent, since_boot, awake FROM kapi.observations WHERE clock = $1 AND runner = ANY($2)`),
		observe: in(`INSERT INTO kapi.observations (runner, clock, beat, silent, since_boot, awake)
			VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (runner, clock) DO UPDATE SET beat = excluded.beat, silent = excluded.silent,
				since_boot = excluded.since_boot, awake = excluded.awake`),
		appendAsked:   in(`UPDATE kapi.runners SET asked = right(asked || $2, $3) WHERE id = $1`),
		forgetWriters: in(`DELETE FROM kapi.writers WHERE at < ` + clock + ` - $1::bigint`),

		addToken:    in(`INSERT INTO kapi.tokens (id, name, type, permissions, created_at, expires_at, hash, session_of) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`),
		tokens:      in(`SELECT ` + tokenColumns + ` FROM kapi.tokens ORDER BY created_at, id`),
		findToken:   in(`SELECT ` + tokenColumns + ` FROM kapi.tokens WHERE id = $1`),
		removeToken: in(`DELETE FROM kapi.tokens WHERE id = $1`),
		endSessions: in(`DELETE FROM kapi.tokens WHERE session_of = $1 AND EXISTS (SELECT FROM kapi.tokens WHERE id = $1)`),

		saved: in(`SELECT name, version, data FROM kapi.saved WHERE action = $1`),
		save: in(`INSERT INTO kapi.saved (action, name, version, data) VALUES ($1, $2, $3, $4)
			ON CONFLICT (action, name) DO UPDATE SET version = excluded.version, data = excluded.data`),
		unsave:       in(`DELETE FROM kapi.saved WHERE action = $1 AND name = $2`),
		disposeSaved: in(`DELETE FROM kapi.saved WHERE action = ANY($1)`),
		moveSaved:    in(`UPDATE kapi.saved SET action = $2 WHERE action = $1`),
		marks:        in(`SELECT action, saves, version FROM kapi.marks WHERE action = ANY($1)`),
		countSave: in(`INSERT INTO kapi.marks AS m (action, saves, version) VALUES ($1, 1, $2)
			ON CONFLICT (action) DO UPDATE SET saves = m.saves + 1, version = excluded.version`),
		disposeMarks: in(`DELETE FROM kapi.marks WHERE action = ANY($1)`),
		moveMark:     in(`UPDATE kapi.marks SET action = $2 WHERE action = $1`),

		operations: in(`SELECT name, about, offered_at FROM kapi.operations ORDER BY name`),
		offering:   in(`SELECT ` + runnerColumns + `, o.name FROM kapi.offers o JOIN kapi.runners r ON r.id = o.runner ORDER BY r.id`),
		operate: in(`INSERT INTO kapi.operations (name, about, offered_at) SELECT unnest($1::text[]), unnest($2::bytea[]), $3
			ON CONFLICT (name) DO UPDATE SET about = excluded.about, offered_at = excluded.offered_at`),
		offer:            in(`INSERT INTO kapi.offers (runner, name) SELECT $1, unnest($2::text[])`),
		withdraw:         in(`DELETE FROM kapi.offers WHERE runner = $1`),
		operationsDue:    in(`SELECT EXISTS (SELECT FROM kapi.operations WHERE offered_at < $1)`),
		forgetOperations: in(`DELETE FROM kapi.operations p WHERE offered_at < $1 AND NOT EXISTS (SELECT FROM kapi.offers o WHERE o.name = p.name)`),
		forgetOffers:     in(`DELETE FROM kapi.offers o WHERE NOT EXISTS (SELECT FROM kapi.runners r WHERE r.id = o.runner)`),
		// An older build that dismisses or purges an action leaves what is saved for it, and its turn. The names of
		// turns are the only keys that begin with a control character.
		forgetSaved:   in(`DELETE FROM kapi.saved l WHERE ` + notOngoing),
		forgetMarks:   in(`DELETE FROM kapi.marks l WHERE ` + notOngoing),
		freeLeftTurns: in(`DELETE FROM kapi.keys l WHERE key >= chr(31) AND key < ' ' AND ` + notOngoing),

		listen:   `LISTEN ` + quoted,
		unlisten: `UNLISTEN ` + quoted,
		notify:   `NOTIFY ` + quoted,
		lock:     lockOf(schema),
		keyLocks: int32(lockOf(schema) >> 32),
		channel:  schema,
	}
}

const (
	// tryKey tries to take the lock of a key, without waiting, until the transaction ends. If two keys
	// share a lock, one of them looks busy while the other is claimed, which does no harm.
	tryKey = `pg_try_advisory_xact_lock($1, hashtext(key))`

	// clock is the server's clock in milliseconds, which is the same for all stores.
	clock = `(extract(epoch FROM now()) * 1000)::bigint`

	// rows turns arrays into rows of actions. If unnest were in FROM, the server would first copy
	// each array into its own tuplestore, which takes longer than writing a few rows.
	rows = `SELECT unnest($1::text[]), unnest($2::bigint[]), unnest($3::bigint[]), unnest($4::bigint[]), unnest($5::text[]),
		unnest($6::bytea[]), unnest($7::text[])`

	ofOngoing    = `action IN (SELECT id FROM kapi.actions WHERE status < 4)`
	notOngoing   = `NOT EXISTS (SELECT FROM kapi.actions a WHERE a.id = l.action AND a.status < 4)`
	tokenColumns = `id, name, type, permissions, created_at, expires_at, hash, session_of`

	runnerColumns = `id, host, pid, boot_id, pid_namespace, start_time, lease_ms, beat, heard_at, work, asked`
)
