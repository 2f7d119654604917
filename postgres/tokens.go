package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kettubot/kapi/auth"
)

func readNothing(*link, *pgx.Batch) {}

// AddToken implements auth.Tokens.
func (s *Store) AddToken(ctx context.Context, t auth.Token) error {
	_, err := s.write(ctx, job{silent: true, read: readNothing, write: func(b *pgx.Batch) (bool, error) {
		var sessionOf *string
		if t.Session {
			sessionOf = &t.By
		}
		b.Queue(s.sql.addToken, t.ID, t.Name, string(t.Type), int64(t.Permissions), t.CreatedAt, t.ExpiresAt, t.Hash[:], sessionOf)
		return true, nil
	}})
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "23505" {
		return fmt.Errorf("there is a token %s already", t.ID)
	}
	return err
}

// Tokens implements auth.Tokens.
func (s *Store) Tokens(ctx context.Context) (all []auth.Token, err error) {
	return s.someTokens(ctx, s.sql.tokens)
}

// FindToken implements auth.Tokens.
func (s *Store) FindToken(ctx context.Context, id string) (auth.Token, error) {
	found, err := s.someTokens(ctx, s.sql.findToken, id)
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
	removed := false
	_, err := s.write(ctx, job{silent: true, read: readNothing, write: func(b *pgx.Batch) (bool, error) {
		b.Queue(s.sql.endSessions, id)
		b.Queue(s.sql.removeToken, id).Exec(func(tag pgconn.CommandTag) error {
			removed = tag.RowsAffected() > 0
			return nil
		})
		return true, nil
	}})
	if err == nil && !removed {
		return auth.ErrUnknownToken
	}
	return err
}

func (s *Store) someTokens(ctx context.Context, query string, args ...any) (all []auth.Token, err error) {
	err = s.read(ctx, func(_ *link, b *pgx.Batch) {
		b.Queue(query, args...).Query(func(rows pgx.Rows) error {
			all, err = pgx.CollectRows(rows, scanToken)
			return err
		})
	})
	return all, err
}

func scanToken(row pgx.CollectableRow) (t auth.Token, err error) {
	var permissions int64
	var hash []byte
	var sessionOf *string
	err = row.Scan(&t.ID, &t.Name, &t.Type, &permissions, &t.CreatedAt, &t.ExpiresAt, &hash, &sessionOf)
	if sessionOf != nil {
		t.Session, t.By = true, *sessionOf
	}
	t.Permissions = auth.Permissions(permissions)
	copy(t.Hash[:], hash)
	return t, err
}
