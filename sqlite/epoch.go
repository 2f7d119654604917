package sqlite

import (
	"crypto/rand"
	"strings"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/kettubot/kapi"
)

// A history is what a file says of the changes that it holds.
type history struct {
	kapi.Head
	file  int64 // the identity of the file in which it took place
	known bool  // false for a file without one
}

func readHistory(c *sqlite.Conn) (h history, err error) {
	err = sqlitex.ExecuteTransient(c, "SELECT epoch, seq, file FROM head", &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			h.known = true
			h.Epoch, h.Seq, h.file = stmt.ColumnText(0), uint64(stmt.ColumnInt64(1)), stmt.ColumnInt64(2)
			return nil
		},
	})
	return h, err
}

// goesOn reports whether the history took place in this very file and was not put back to
// an earlier time: the wake file, if there is one, knows its epoch and no later seq.
func (h history) goesOn(file int64, last mark, hasWake bool) bool {
	return h.known && h.file == file && (!hasWake || last.epoch == h.Epoch && last.seq <= h.Seq)
}

// settleEpoch begins a new epoch when the history doesn't go on. seq goes on from the
// highest that is known, so that fences keep growing.
//
// The wake file is read and written under the write lock, so that it names the epoch
// from the start: who opens the file next finds the same.
func settleEpoch(c *sqlite.Conn, file int64, wake *wakeFile) error {
	h, err := readHistory(c)
	if err != nil {
		return err
	}
	last := wake.read()
	if h.goesOn(file, last, wake != nil) {
		return nil
	}
	now := mark{newEpoch(), max(h.Seq, last.seq)}
	query := "INSERT INTO head (one, purged, epoch, seq, file) VALUES (1, 0, ?, ?, ?)"
	if h.known {
		query = "UPDATE head SET epoch = ?, seq = ?, file = ?"
	}
	err = sqlitex.ExecuteTransient(c, query, &sqlitex.ExecOptions{Args: []any{now.epoch, int64(now.seq), file}})
	if err == nil && wake != nil {
		wake.touch(now)
	}
	return err
}

// makeSecret gives a new store its secret.
func makeSecret(c *sqlite.Conn) error {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	return sqlitex.ExecuteTransient(c, "INSERT OR IGNORE INTO secrets (one, signing) VALUES (1, ?)", &sqlitex.ExecOptions{Args: []any{secret}})
}

func newEpoch() string { return strings.ToLower(rand.Text()) }
