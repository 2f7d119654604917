package storetest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
)

// A store keeps tokens, too: the results of sqlite.Open and postgres.Open also implement auth.Tokens.

// tokenHandles opens n handles on new data, and returns them as auth.Tokens.
func (b Backend) tokenHandles(t *testing.T, n int) []auth.Tokens {
	t.Helper()
	var all []auth.Tokens
	for _, s := range b.handles(t, n) {
		tokens, ok := s.(auth.Tokens)
		if !ok {
			t.Fatalf("%T does not implement auth.Tokens", s)
		}
		all = append(all, tokens)
	}
	return all
}

// token returns a token with every field set except those of sessions.
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

// session returns a session that was begun with the token by, or with a link if by is "".
func session(id, by string, created int64) auth.Token {
	t := token(id, created)
	t.Session, t.By = true, by
	return t
}

// addTokens adds tokens in the reverse order.
func addTokens(t *testing.T, s auth.Tokens, all []auth.Token) {
	t.Helper()
	for _, token := range slices.Backward(all) {
		if err := s.AddToken(within(t), token); err != nil {
			t.Fatalf("AddToken(%s): %v", token.ID, err)
		}
	}
}

// wantTokens checks all tokens of a handle, listed and found one by one.
func wantTokens(t *testing.T, s auth.Tokens, when string, want []auth.Token) {
	t.Helper()
	if got, err := s.Tokens(within(t)); err != nil || !slices.Equal(got, want) {
		t.Errorf("%s, Tokens: %v\ngot %+v\nwant, the oldest first, %+v", when, err, got, want)
	}
	for _, token := range want {
		if got, err := s.FindToken(within(t), token.ID); err != nil || got != token {
			t.Errorf("%s, FindToken(%s): %v\ngot %+v\nwant %+v", when, token.ID, err, got, token)
		}
	}
}

// testTokens: what one handle adds or removes is visible at the other at once.
func testTokens(t *testing.T, b Backend) {
	s := b.tokenHandles(t, 2)
	forever := token("forever", 5)
	forever.ExpiresAt, forever.Permissions = 0, 0
	want := []auth.Token{token("oldest", 1), forever, token("twin-a", 7), token("twin-b", 7)}
	addTokens(t, s[0], want)
	wantTokens(t, s[0], "added", want)
	wantTokens(t, s[1], "added at another handle", want)
	if err := s[1].RemoveToken(within(t), "oldest"); err != nil {
		t.Fatal(err)
	}
	for _, s := range s {
		if _, err := s.FindToken(within(t), "oldest"); !errors.Is(err, auth.ErrUnknownToken) {
			t.Errorf("FindToken of a removed token: %v, want ErrUnknownToken", err)
		}
		if err := s.RemoveToken(within(t), "oldest"); !errors.Is(err, auth.ErrUnknownToken) {
			t.Errorf("RemoveToken of a removed token: %v, want ErrUnknownToken", err)
		}
		wantTokens(t, s, "after a removal", want[1:])
	}
}

// testTokensReopen: tokens outlive the handles that added them.
func testTokensReopen(t *testing.T, b Backend) {
	open := b.New(t)
	want := []auth.Token{token("a", 1), session("of-a", "a", 2)}
	for round := range 2 {
		s := open()
		if round == 0 {
			addTokens(t, s.(auth.Tokens), want)
		}
		wantTokens(t, s.(auth.Tokens), "opened again", want)
		if err := s.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
}

// testTokenIDs: an id can be added only once, and is found only by the exact id.
func testTokenIDs(t *testing.T, b Backend) {
	s := b.tokenHandles(t, 1)[0]
	first, second := token("id", 1), token("id", 2)
	if err := s.AddToken(within(t), first); err != nil {
		t.Fatal(err)
	}
	err := s.AddToken(within(t), second)
	if err == nil || !strings.Contains(err.Error(), "there is a token id already") || errors.Is(err, kapi.ErrUnavailable) {
		t.Errorf("AddToken with an id that exists: %v", err)
	}
	wantTokens(t, s, "after another of the same id was refused", []auth.Token{first})
	for _, id := range []string{"", "ID", "i", "id ", "i%", "' OR 1"} {
		if _, err := s.FindToken(within(t), id); !errors.Is(err, auth.ErrUnknownToken) {
			t.Errorf("FindToken(%q): %v", id, err)
		}
		if err := s.RemoveToken(within(t), id); !errors.Is(err, auth.ErrUnknownToken) {
			t.Errorf("RemoveToken(%q): %v", id, err)
		}
	}
}

// testSessions: sessions are kept among the tokens, and are removed with the token that began them.
func testSessions(t *testing.T, b Backend) {
	s := b.tokenHandles(t, 1)[0]
	all := []auth.Token{token("a", 1), token("b", 2), session("of-a", "a", 3), session("of-a-too", "a", 4), session("of-b", "b", 5), session("linked", "", 6)}
	addTokens(t, s, all)
	wantTokens(t, s, "added", all)
	for _, gone := range []struct {
		id     string
		exists bool
		left   []string
	}{
		{"", false, []string{"a", "b", "of-a", "of-a-too", "of-b", "linked"}}, // not an id, although it is By of the session from a link
		{"of-a", true, []string{"a", "b", "of-a-too", "of-b", "linked"}},
		{"a", true, []string{"b", "of-b", "linked"}},
		{"linked", true, []string{"b", "of-b"}},
		{"a", false, []string{"b", "of-b"}},
	} {
		err := s.RemoveToken(within(t), gone.id)
		if gone.exists && err != nil || !gone.exists && !errors.Is(err, auth.ErrUnknownToken) {
			t.Errorf("RemoveToken(%q): %v", gone.id, err)
		}
		all = slices.DeleteFunc(all, func(token auth.Token) bool { return !slices.Contains(gone.left, token.ID) })
		wantTokens(t, s, "without "+gone.id, all)
	}
}

// testTokensAuthenticate: a token added by one process is valid at another, until it is revoked.
func testTokensAuthenticate(t *testing.T, b Backend) {
	s := b.tokenHandles(t, 2)
	secret, made, err := auth.New("ops", auth.TypeUser, auth.Admin, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := s[0].AddToken(within(t), made); err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequestWithContext(within(t), http.MethodGet, "/", nil)
	request.Header.Set("Authorization", "Bearer "+secret)
	authenticator := auth.NewAuthenticator(s[1])
	if who, err := authenticator.Authenticate(request); err != nil || who.ID != made.ID || !who.Permissions.Has(auth.Admin) {
		t.Errorf("Authenticate: %+v, %v", who, err)
	}
	if err := s[0].RemoveToken(within(t), made.ID); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(deadline); ; time.Sleep(time.Millisecond) {
		if _, err := authenticator.Authenticate(request); errors.Is(err, auth.ErrInvalidToken) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the revoked token is still accepted")
		}
	}
}
