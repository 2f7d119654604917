package postgres

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/kapitest"
)

// TestTokens: tokens and sessions are kept whole, and sessions go with their token.
func TestTokens(t *testing.T) {
	s, _ := newStore(t)
	ctx := kapitest.Within(t)
	token := func(id string, created int64) auth.Token {
		t := auth.Token{ID: id, Name: "Zoë's " + id, Type: auth.TypeBot, Permissions: auth.Admin | 1<<62, CreatedAt: created, ExpiresAt: created + 1}
		copy(t.Hash[:], "the hash of "+id)
		return t
	}
	session := func(id, by string, created int64) auth.Token {
		t := token(id, created)
		t.Session, t.By = true, by
		return t
	}
	want := []auth.Token{token("a", 1), token("b", 2), session("of-a", "a", 3), session("of-a-too", "a", 4), session("of-b", "b", 5), session("linked", "", 6)}
	for _, token := range want {
		if err := s.AddToken(ctx, token); err != nil {
			t.Fatal(err)
		}
		if got, err := s.FindToken(ctx, token.ID); err != nil || got != token {
			t.Errorf("FindToken(%s): %v\n%+v, want\n%+v", token.ID, err, got, token)
		}
	}
	if got, err := s.Tokens(ctx); err != nil || !slices.Equal(got, want) {
		t.Errorf("Tokens: %v\n%+v, want\n%+v", err, got, want)
	}
	if err := s.AddToken(ctx, token("a", 7)); err == nil || !strings.Contains(err.Error(), "there is a token a already") {
		t.Errorf("an id that is taken is answered with %v", err)
	}
	for _, gone := range []struct {
		id   string
		left []string
	}{{"", []string{"a", "b", "of-a", "of-a-too", "of-b", "linked"}}, {"of-a", []string{"a", "b", "of-a-too", "of-b", "linked"}}, {"a", []string{"b", "of-b", "linked"}}, {"linked", []string{"b", "of-b"}}} {
		if err := s.RemoveToken(ctx, gone.id); (err != nil) != (gone.id == "") {
			t.Errorf("RemoveToken(%s): %v", gone.id, err)
		}
		all, err := s.Tokens(ctx)
		var ids []string
		for _, token := range all {
			ids = append(ids, token.ID)
		}
		if err != nil || !slices.Equal(ids, gone.left) {
			t.Errorf("without %s there are %v (error: %v), want %v", gone.id, ids, err, gone.left)
		}
	}
	for _, id := range []string{"", "a"} {
		if err := s.RemoveToken(ctx, id); !errors.Is(err, auth.ErrUnknownToken) {
			t.Errorf("RemoveToken(%q): %v", id, err)
		}
	}
}
