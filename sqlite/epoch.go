package sqlite

import (
	"crypto/rand"
	"strings"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/kettubot/kapi"
)

// settleEpoch begins a new epoch when the file is not the one its history took place in,
// or was put back to an earlier time: it is another file, or the wake file knows a later
// seq, or nothing of this epoch. seq goes on from the highest that is known, so that
// fences keep growing.
//
// The wake file is read and written under the write lock, so that it names the epoch
// from the start: who opens the file next finds the same.
func settleEpoch(c *sqlite.Conn, file int64, wake *wakeFile) error {
	var at kapi.Head
	var was int64
	known := false
	err := sqlitex.ExecuteTransient(c, "SELECT epoch, seq, file FROM head", &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			known = true
			at.Epoch, at.Seq, was = stmt.ColumnText(0), uint64(stmt.ColumnInt64(1)), stmt.ColumnInt64(2)
			return nil
		},
	})
	if err != nil {
		return err
	}
	last := mark{at.Epoch, at.Seq}
	if wake != nil {
		last = wake.read()
	}
	if known && was == file && last.epoch == at.Epoch && last.seq <= at.Seq {
		return nil
	}
	now := mark{newEpoch(), max(at.Seq, last.seq)}
	query := "INSERT INTO head (one, purged, epoch, seq, file) VALUES (1, 0, ?, ?, ?)"
	if known {
		query = "UPDATE head SET epoch = ?, seq = ?, file = ?"
	}
	err = sqlitex.ExecuteTransient(c, query, &sqlitex.ExecOptions{Args: []any{now.epoch, int64(now.seq), file}})
	if err == nil && wake != nil {
		wake.touch(now)
	}
	return err
}

func newEpoch() string { return strings.ToLower(rand.Text()) }
