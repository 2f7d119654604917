package sqlite

import (
	"context"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi/auth"
)

const (
	insertToken    = `INSERT INTO tokens (id, name, type, permissions, created_at, expires_at, hash, session_of) VALUES (?,?,?,?,?,?,?,?)`
	tokenColumns   = `SELECT id, name, type, permissions, created_at, expires_at, hash, session_of FROM tokens`
	selectTokens   = tokenColumns + ` ORDER BY created_at, id`
	selectToken    = tokenColumns + ` WHERE id = ?`
	deleteToken    = `DELETE FROM tokens WHERE id = ?`
	deleteSessions = `DELETE FROM tokens WHERE session_of = ?`
)

// AddToken implements auth.Tokens.
func (s *Store) AddToken(ctx context.Context, t auth.Token) error {
	taken := false
	_, err := s.write(ctx, func(c *sqlite.Conn) (bool, error) {
		err := run(c, insertToken, func(stmt *sqlite.Stmt) {
			stmt.BindText(1, t.ID)
			stmt.BindText(2, t.Name)
			stmt.BindText(3, string(t.Type))
			stmt.BindInt64(4, int64(t.Permissions))
			stmt.BindInt64(5, t.CreatedAt)
			stmt.BindInt64(6, t.ExpiresAt)
			stmt.BindBytes(7, t.Hash[:])
			if t.Session {
				stmt.BindText(8, t.By)
			} else {
				stmt.BindNull(8)
			}
		})
		if taken = sqlite.ErrCode(err).ToPrimary() == sqlite.ResultConstraint; taken {
			return false, nil // not an error of the store
		}
		return true, err
	})
	if err == nil && taken {
		err = fmt.Errorf("there is a token %s already", t.ID)
	}
	return err
}

// Tokens implements auth.Tokens.
func (s *Store) Tokens(ctx context.Context) (all []auth.Token, err error) {
	err = s.read(ctx, func(c *sqlite.Conn) error {
		return each(c, selectTokens, nil, func(stmt *sqlite.Stmt) { all = append(all, scanToken(stmt)) })
	})
	return all, err
}

// FindToken implements auth.Tokens.
func (s *Store) FindToken(ctx context.Context, id string) (auth.Token, error) {
	var found []auth.Token
	err := s.read(ctx, func(c *sqlite.Conn) error {
		return each(c, selectToken,
			func(stmt *sqlite.Stmt) { stmt.BindText(1, id) },
			func(stmt *sqlite.Stmt) { found = append(found, scanToken(stmt)) })
	})
	switch {
	case err != nil:
		return auth.Token{}, err
	case len(found) == 0:
		return auth.Token{}, auth.ErrUnknownToken
	}
	return found[0], nil
}

// RemoveToken implements auth.Tokens.
func (s *Store) RemoveToken(ctx context.Context, id string) error {
	removed, err := s.write(ctx, func(c *sqlite.Conn) (bool, error) {
		bind := func(stmt *sqlite.Stmt) { stmt.BindText(1, id) }
		if err := run(c, deleteToken, bind); err != nil || c.Changes() == 0 {
			return false, err
		}
		return true, run(c, deleteSessions, bind)
	})
	if err == nil && !removed {
		return auth.ErrUnknownToken
	}
	return err
}

func scanToken(stmt *sqlite.Stmt) auth.Token {
	t := auth.Token{
		ID: stmt.ColumnText(0), Name: stmt.ColumnText(1), Type: auth.Type(stmt.ColumnText(2)),
		Permissions: auth.Permissions(stmt.ColumnInt64(3)),
		CreatedAt:   stmt.ColumnInt64(4), ExpiresAt: stmt.ColumnInt64(5),
		Session: !stmt.ColumnIsNull(7), By: stmt.ColumnText(7),
	}
	stmt.ColumnBytes(6, t.Hash[:])
	return t
}
