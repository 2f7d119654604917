package sqlite

import (
	"strconv"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// This file maps records to rows of the table actions. A new field needs a new column: a step of the schema
// that adds it, and a line in columns, updateAction, the bind functions and scanRecord.

const (
	columns = `seq, id, title, description, created_at, status, progress, state, keys, updated_at, started_at,
		runner, host, pid, heard_at, cancel_requested_at, cancelled_by, exit_code, fence, flags, silence, waits, ticket, waits_for, sender,
		defined`

	insertAction = `INSERT INTO actions (` + columns + `)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`
	updateAction = `UPDATE actions SET seq = ?, status = ?, progress = ?, state = ?, keys = ?, updated_at = ?,
		started_at = ?, runner = ?, host = ?, pid = ?, heard_at = ?, cancel_requested_at = ?, cancelled_by = ?,
		exit_code = ?, fence = ?, flags = ?, silence = ?, waits = ?, ticket = ?, waits_for = ?, defined = ? WHERE id = ?`
)

const (
	flagReleaseOnFailure = 1 << iota
	flagNotProvenDead
	flagLateEnd
	flagLeaveRunning
	flagDismissFailed
)

// bindInsert binds a record in the order of columns.
func bindInsert(stmt *sqlite.Stmt, r *store.Record) {
	stmt.BindInt64(1, int64(r.Seq))
	stmt.BindText(2, r.ID)
	stmt.BindText(3, r.Title)
	stmt.BindText(4, r.Description)
	stmt.BindInt64(5, r.CreatedAt)
	stmt.BindInt64(6, int64(r.Status))
	bindProgress(stmt, 7, r)
	stmt.BindText(8, r.State)
	stmt.BindText(9, strings.Join(r.Keys, " "))
	stmt.BindInt64(10, r.UpdatedAt)
	bindRest(stmt, 11, r)
	stmt.BindText(25, r.Sender)
	bindDefined(stmt, 26, r)
}

// bindUpdate binds the parameters of updateAction: the columns that can change, then the id.
func bindUpdate(stmt *sqlite.Stmt, r *store.Record) {
	stmt.BindInt64(1, int64(r.Seq))
	stmt.BindInt64(2, int64(r.Status))
	bindProgress(stmt, 3, r)
	stmt.BindText(4, r.State)
	stmt.BindText(5, strings.Join(r.Keys, " "))
	stmt.BindInt64(6, r.UpdatedAt)
	bindRest(stmt, 7, r)
	bindDefined(stmt, 21, r)
	stmt.BindText(22, r.ID)
}

// bindRest binds started_at to waits_for, from parameter at on.
func bindRest(stmt *sqlite.Stmt, at int, r *store.Record) {
	stmt.BindInt64(at, r.StartedAt)
	runner := kapi.Runner{}
	if r.Runner != nil {
		runner = *r.Runner
	}
	if id := r.NamedRunner(); id != "" || r.Runner != nil {
		stmt.BindText(at+1, id)
	} else {
		stmt.BindNull(at + 1)
	}
	stmt.BindText(at+2, runner.Host)
	stmt.BindInt64(at+3, int64(runner.PID))
	stmt.BindInt64(at+4, runner.HeardAt)
	stmt.BindInt64(at+5, r.CancelRequestedAt)
	stmt.BindText(at+6, r.CancelledBy)
	if r.ExitCode != nil {
		stmt.BindInt64(at+7, int64(*r.ExitCode))
	} else {
		stmt.BindNull(at + 7)
	}
	stmt.BindInt64(at+8, int64(r.Fence))
	stmt.BindInt64(at+9, flags(r))
	stmt.BindText(at+10, r.Silence)
	stmt.BindText(at+11, strings.Join(r.Waits, " "))
	stmt.BindInt64(at+12, int64(r.Ticket))
	stmt.BindText(at+13, waitsForColumn(r))
}

// waitsForColumn encodes r.WaitsFor: the row's seq, then the key, id and title, each on its own line.
func waitsForColumn(r *store.Record) string {
	w := r.WaitsFor
	if w == nil {
		return ""
	}
	return strings.Join([]string{strconv.FormatUint(r.Seq, 10), w.Key, w.Action, w.Title}, "\n")
}

// scanWaitsFor decodes what waitsForColumn returns. It ignores a value with another seq: an older kapi has
// changed the row and left the value as it was.
func scanWaitsFor(text string, seq uint64) *kapi.WaitsFor {
	parts := strings.SplitN(text, "\n", 4)
	if len(parts) != 4 || parts[0] != strconv.FormatUint(seq, 10) {
		return nil
	}
	return &kapi.WaitsFor{Key: parts[1], Action: parts[2], Title: parts[3]}
}

func bindProgress(stmt *sqlite.Stmt, at int, r *store.Record) {
	if r.Progress != nil {
		stmt.BindFloat(at, *r.Progress)
	} else {
		stmt.BindNull(at)
	}
}

func bindDefined(stmt *sqlite.Stmt, at int, r *store.Record) {
	if text := store.EncodeDefined(r); text != "" {
		stmt.BindText(at, text)
	} else {
		stmt.BindNull(at)
	}
}

func flags(r *store.Record) (f int64) {
	if r.ReleaseOnFailure {
		f |= flagReleaseOnFailure
	}
	if r.NotProvenDead {
		f |= flagNotProvenDead
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

// scanRecord reads a row of columns.
func scanRecord(stmt *sqlite.Stmt) (store.Record, error) {
	flags := stmt.ColumnInt64(19)
	r := store.Record{
		Action: kapi.Action{
			Seq: uint64(stmt.ColumnInt64(0)), ID: stmt.ColumnText(1), Title: stmt.ColumnText(2),
			Description: stmt.ColumnText(3), CreatedAt: stmt.ColumnInt64(4), Status: kapi.Status(stmt.ColumnInt(5)),
			State: stmt.ColumnText(7), Keys: strings.Fields(stmt.ColumnText(8)),
			UpdatedAt: stmt.ColumnInt64(9), StartedAt: stmt.ColumnInt64(10), CancelRequestedAt: stmt.ColumnInt64(15),
			CancelledBy: stmt.ColumnText(16), NotProvenDead: flags&flagNotProvenDead != 0,
		},
		Fence: uint64(stmt.ColumnInt64(18)), Silence: stmt.ColumnText(20),
		ReleaseOnFailure: flags&flagReleaseOnFailure != 0,
		LateEnd:          flags&flagLateEnd != 0,
		LeaveRunning:     flags&flagLeaveRunning != 0,
		DismissFailed:    flags&flagDismissFailed != 0,
		Ticket:           uint64(stmt.ColumnInt64(22)),
		Sender:           stmt.ColumnText(24),
	}
	if waits := stmt.ColumnText(21); waits != "" {
		r.Waits = strings.Fields(waits)
	}
	r.WaitsFor = scanWaitsFor(stmt.ColumnText(23), r.Seq)
	if !stmt.ColumnIsNull(6) {
		p := stmt.ColumnFloat(6)
		r.Progress = &p
	}
	if !stmt.ColumnIsNull(11) {
		r.Runner = &kapi.Runner{
			ID: stmt.ColumnText(11), Host: stmt.ColumnText(12), PID: stmt.ColumnInt(13), HeardAt: stmt.ColumnInt64(14),
		}
	}
	if !stmt.ColumnIsNull(17) {
		code := stmt.ColumnInt(17)
		r.ExitCode = &code
	}
	err := store.DecodeDefined(stmt.ColumnText(25), &r)
	if d := r.Defined; d != nil && d.Last != nil && d.Last.ID == r.RunnerID() {
		r.Runner = nil // it has lost this one: the column is for purges
	}
	return r, err
}
