package sqlite

import (
	"context"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi/internal/store"
)

const (
	selectAnswer = `SELECT action, hash, body FROM answers WHERE sender = ? AND key = ?`
	insertAnswer = `INSERT INTO answers (sender, key, action, hash, body, seen) VALUES (?, ?, ?, ?, ?, ?)`

	ofOngoing     = `action IN (SELECT id FROM actions WHERE status < 4)`
	selectDue     = `SELECT 1 FROM answers WHERE seen < ?1 AND ` + ofOngoing + ` OR seen < ?2 LIMIT 1`
	noteOngoing   = `UPDATE answers SET seen = ?2 WHERE seen < ?1 AND ` + ofOngoing
	deleteAnswers = `DELETE FROM answers WHERE seen < ?`
)

func loadAnswers(c *sqlite.Conn, requests []store.Request) (all []store.Answer, err error) {
	for _, r := range requests {
		err = each(c, selectAnswer,
			func(stmt *sqlite.Stmt) {
				stmt.BindText(1, r.By)
				stmt.BindText(2, r.Key)
			},
			func(stmt *sqlite.Stmt) {
				all = append(all, store.Answer{Request: r, Action: stmt.ColumnText(0), Hash: column(stmt, 1), Body: column(stmt, 2)})
			})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func column(stmt *sqlite.Stmt, n int) []byte {
	data := make([]byte, stmt.ColumnLen(n))
	stmt.ColumnBytes(n, data)
	return data
}

func saveAnswer(c *sqlite.Conn, a *store.Answer) error {
	return run(c, insertAnswer, func(stmt *sqlite.Stmt) {
		stmt.BindText(1, a.By)
		stmt.BindText(2, a.Key)
		stmt.BindText(3, a.Action)
		stmt.BindBytes(4, a.Hash)
		stmt.BindBytes(5, a.Body)
		stmt.BindInt64(6, time.Now().UnixMilli())
	})
}

// purgeAnswers notes which answers belong to ongoing actions and deletes those that have expired. It
// takes the write lock only if there is something to write.
func (s *Store) purgeAnswers(ctx context.Context, r store.Retention) error {
	due := false
	err := s.read(ctx, func(c *sqlite.Conn) error {
		return each(c, selectDue, func(stmt *sqlite.Stmt) {
			stmt.BindInt64(1, r.Noted)
			stmt.BindInt64(2, r.Answered)
		}, func(*sqlite.Stmt) { due = true })
	})
	if err != nil || !due {
		return err
	}
	_, err = s.write(ctx, func(c *sqlite.Conn) (bool, error) {
		err := run(c, noteOngoing, func(stmt *sqlite.Stmt) {
			stmt.BindInt64(1, r.Noted)
			stmt.BindInt64(2, r.Now)
		})
		if err == nil {
			err = run(c, deleteAnswers, func(stmt *sqlite.Stmt) { stmt.BindInt64(1, r.Answered) })
		}
		return true, err
	})
	return err
}
