package bench

// The statements of package sqlite, copied, because the bare loop must not run any of kapi's code.
// TestStatementsAreTheStores fails when they drift.
const (
	columns = `seq, id, title, description, created_at, status, progress, state, keys, updated_at, started_at,
		runner, host, pid, heard_at, cancel_requested_at, cancelled_by, exit_code, fence, flags, silence, waits, ticket, waits_for, sender,
		defined`

	selectHead   = `SELECT epoch, seq, purged, min_report, min_start FROM head`
	updateHead   = `UPDATE head SET seq = ?`
	insertAction = `INSERT INTO actions (` + columns + `)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`
	updateAction = `UPDATE actions SET seq = ?, status = ?, progress = ?, state = ?, keys = ?, updated_at = ?,
		started_at = ?, runner = ?, host = ?, pid = ?, heard_at = ?, cancel_requested_at = ?, cancelled_by = ?,
		exit_code = ?, fence = ?, flags = ?, silence = ?, waits = ?, ticket = ?, waits_for = ?, defined = ? WHERE id = ?`
	insertKey    = `INSERT INTO keys (key, action) VALUES (?, ?)`
	deleteKey    = `DELETE FROM keys WHERE key = ?`
	upsertRunner = `INSERT INTO runners (id, host, pid, boot_id, pid_namespace, start_time, lease_ms, beat, heard_at, work,
			slot, slot_file, slot_lease_ms)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET beat = beat + excluded.beat, heard_at = excluded.heard_at, lease_ms = excluded.lease_ms,
			work = excluded.work, slot = excluded.slot, slot_file = excluded.slot_file, slot_lease_ms = excluded.slot_lease_ms`
)
