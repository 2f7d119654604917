package sqlite

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/kapitest"
)

// token returns one with every field set.
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

// TestTokens: what one handle adds or removes is so at the other at once.
func TestTokens(t *testing.T) {
	path := newPath(t)
	a, b := openFor(t, path), openFor(t, path)
	ctx := kapitest.Within(t)
	forever := token("forever", 5)
	forever.ExpiresAt, forever.Permissions = 0, 0
	want := []auth.Token{token("oldest", 1), forever, token("twin-a", 7), token("twin-b", 7)}
	for _, i := range []int{3, 1, 0, 2} {
		if err := a.AddToken(ctx, want[i]); err != nil {
			t.Fatal(err)
		}
	}
	for name, s := range map[string]auth.Tokens{"the same handle": a, "another handle": b} {
		if got, err := s.Tokens(ctx); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: Tokens: %v\n%+v, want\n%+v", name, err, got, want)
		}
		for _, token := range want {
			if got, err := s.FindToken(ctx, token.ID); err != nil || got != token {
				t.Errorf("%s: FindToken(%s): %v\n%+v, want\n%+v", name, token.ID, err, got, token)
			}
		}
	}
	if err := b.RemoveToken(ctx, "oldest"); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]auth.Tokens{"the same handle": b, "another handle": a} {
		if _, err := s.FindToken(ctx, "oldest"); !errors.Is(err, auth.ErrUnknownToken) {
			t.Errorf("%s: a removed token is found: %v", name, err)
		}
		if err := s.RemoveToken(ctx, "oldest"); !errors.Is(err, auth.ErrUnknownToken) {
			t.Errorf("%s: a removed token is removed again: %v", name, err)
		}
		if got, err := s.Tokens(ctx); err != nil || !slices.Equal(got, want[1:]) {
			t.Errorf("%s: after a removal Tokens has %+v (error: %v)", name, got, err)
		}
	}
	closeStore(t, a)
	closeStore(t, b)
	if got, err := openFor(t, path).Tokens(ctx); err != nil || !slices.Equal(got, want[1:]) {
		t.Errorf("opened again, Tokens has %+v (error: %v)", got, err)
	}
}

func TestTokenIDTaken(t *testing.T) {
	bothKinds(t, func(t *testing.T, s *Store) {
		ctx := kapitest.Within(t)
		first, second := token("id", 1), token("id", 2)
		if err := s.AddToken(ctx, first); err != nil {
			t.Fatal(err)
		}
		err := s.AddToken(ctx, second)
		if err == nil || !strings.Contains(err.Error(), "there is a token id already") || isUnavailable(err) {
			t.Errorf("an id that is taken is answered with %v", err)
		}
		if got, err := s.FindToken(ctx, "id"); err != nil || got != first {
			t.Errorf("the token is %+v (error: %v)", got, err)
		}
		for _, id := range []string{"", "ID", "i", "id ", "i%", "' OR 1"} {
			if _, err := s.FindToken(ctx, id); !errors.Is(err, auth.ErrUnknownToken) {
				t.Errorf("FindToken(%q): %v", id, err)
			}
		}
	})
}

// TestSessions: sessions are kept among the tokens, and go with theirs.
func TestSessions(t *testing.T) {
	bothKinds(t, func(t *testing.T, s *Store) {
		ctx := kapitest.Within(t)
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
				t.Errorf("FindToken(%s): %+v, %v", token.ID, got, err)
			}
		}
		if got, err := s.Tokens(ctx); err != nil || !slices.Equal(got, want) {
			t.Errorf("Tokens: %v\n%+v, want\n%+v", err, got, want)
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
		for _, id := range []string{"", "a"} { // no token's, though sessions have it where their token's id is
			if err := s.RemoveToken(ctx, id); !errors.Is(err, auth.ErrUnknownToken) {
				t.Errorf("RemoveToken(%q): %v", id, err)
			}
		}
	})
}

// TestTokensAuthenticate: a token that one process makes is good at another, until it is
// revoked there.
func TestTokensAuthenticate(t *testing.T) {
	path := newPath(t)
	a, b := openFor(t, path), openFor(t, path)
	secret, tok, err := auth.New("ops", auth.TypeUser, auth.Admin, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.AddToken(kapitest.Within(t), tok); err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequest("GET", "/", nil)
	request.Header.Set("Authorization", "Bearer "+secret)
	authenticator := auth.NewAuthenticator(b)
	if who, err := authenticator.Authenticate(request); err != nil || who.ID != tok.ID || !who.Permissions.Has(auth.Admin) {
		t.Errorf("Authenticate: %+v, %v", who, err)
	}
	if err := a.RemoveToken(kapitest.Within(t), tok.ID); err != nil {
		t.Fatal(err)
	}
	kapitest.Eventually(t, "the revoked token is refused", func() bool {
		_, err := authenticator.Authenticate(request)
		return errors.Is(err, auth.ErrInvalidToken)
	})
}

// TestTokensAtALock: tokens are read while another holds the write lock; adding one waits
// no longer than its context allows, and then adds nothing.
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
