package sqlite

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/kapitest"
)

// token returns a token with every field set.
func token(id string, created int64) auth.Token {
	t := auth.Token{
		ID: id, Name: "Zoë's " + id, Type: auth.TypeBot, Permissions: auth.Admin | 1<<62,
		CreatedAt: created, ExpiresAt: created + 1,
	}
	for i := range t.Hash {
		t.Hash[i] = byte(i + len(id))
	}
	return t
}

// TestTokensAtALock: tokens can be read while another process holds the write lock. Adding or removing one waits no
// longer than its context allows, and then changes nothing.
func TestTokensAtALock(t *testing.T) {
	path := newPath(t)
	s := openFor(t, path)
	if err := s.AddToken(kapitest.Within(t), token("before", 1)); err != nil {
		t.Fatal(err)
	}
	other := startChild(t, "lock", path)
	other.expect("locked")
	if _, err := s.FindToken(kapitest.Within(t), "before"); err != nil {
		t.Errorf("FindToken: %v", err)
	}
	for name, write := range map[string]func(context.Context) error{
		"AddToken":    func(ctx context.Context) error { return s.AddToken(ctx, token("refused", 2)) },
		"RemoveToken": func(ctx context.Context) error { return s.RemoveToken(ctx, "before") },
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		if err := write(ctx); errors.Is(err, auth.ErrUnknownToken) {
			t.Errorf("%s: an error of the store is taken for an unknown token", name)
		} else {
			wantRefusal(t, err, path, lockedByAnother)
		}
		cancel()
	}
	other.end()
	all, err := s.Tokens(kapitest.Within(t))
	if err != nil || len(all) != 1 || all[0].ID != "before" {
		t.Errorf("Tokens has %+v (error: %v)", all, err)
	}
}
