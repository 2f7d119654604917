package sqlite

import (
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
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
	stmt.BindText(24, r.Sender)
}

// bindUpdate binds what can change, then the id.
func bindUpdate(stmt *sqlite.Stmt, r *store.Record) {
	stmt.BindInt64(1, int64(r.Seq))
	stmt.BindInt64(2, int64(r.Status))
	bindProgress(stmt, 3, r)
	stmt.BindText(4, r.State)
	stmt.BindText(5, strings.Join(r.Keys, " "))
	stmt.BindInt64(6, r.UpdatedAt)
	bindRest(stmt, 7, r)
	stmt.BindText(20, r.ID)
}

// bindRest binds started_at to ticket, from parameter at on.
func bindRest(stmt *sqlite.Stmt, at int, r *store.Record) {
	stmt.BindInt64(at, r.StartedAt)
	runner := kapi.Runner{}
	if r.Runner != nil {
		runner = *r.Runner
		stmt.BindText(at+1, runner.ID)
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
}

func bindProgress(stmt *sqlite.Stmt, at int, r *store.Record) {
	if r.Progress != nil {
		stmt.BindFloat(at, *r.Progress)
	} else {
		stmt.BindNull(at)
	}
}

func flags(r *store.Record) (f int64) {
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
