package sqlite

import (
	"crypto/rand"
	"strings"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/kettubot/kapi"
)

// settleEpoch begins a new epoch when the file is a copy of the one its history took
// place in (another inode), or was put back to an earlier time (the wake file knows a
// later seq). seq goes on from the highest that is known, so that fences keep growing.
func settleEpoch(c *sqlite.Conn, inode int64, last mark) error {
	var at kapi.Head
	var was int64
	known := false
	err := sqlitex.ExecuteTransient(c, "SELECT epoch, seq, inode FROM head", &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			known = true
			at.Epoch, at.Seq, was = stmt.ColumnText(0), uint64(stmt.ColumnInt64(1)), stmt.ColumnInt64(2)
			return nil
		},
	})
	if err != nil {
		return err
	}
	putBack := last.epoch == at.Epoch && last.seq > at.Seq
	switch {
	case !known:
		return sqlitex.ExecuteTransient(c, "INSERT INTO head (one, epoch, seq, purged, inode) VALUES (1, ?, 0, 0, ?)",
			&sqlitex.ExecOptions{Args: []any{newEpoch(), inode}})
	case was != inode || putBack:
		return sqlitex.ExecuteTransient(c, "UPDATE head SET epoch = ?, seq = max(seq, ?), inode = ?",
			&sqlitex.ExecOptions{Args: []any{newEpoch(), int64(last.seq), inode}})
	}
	return nil
}

func newEpoch() string { return strings.ToLower(rand.Text()) }
