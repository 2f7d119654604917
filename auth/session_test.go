package auth_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi/auth"
)

const pageCookie = "kapi_0a1b2c3d"

// paired returns a request with these halves, "" for none.
func paired(cookie, half string) *http.Request {
	r := request()
	if cookie != "" {
		r.Header.Add("Cookie", pageCookie+"="+cookie)
	}
	if half != "" {
		r.Header.Set(auth.SessionHeader, half)
	}
	return r
}

func begin(t *testing.T, a *auth.Authenticator, token string) auth.Session {
	t.Helper()
	s, err := a.BeginSession(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// check compares who a request comes from.
func check(t *testing.T, a *auth.Authenticator, what string, r *http.Request, want string, wantErr error) {
	t.Helper()
	who, err := a.AuthenticateSession(r, pageCookie)
	if who.ID != want || !errors.Is(err, wantErr) || err != nil && who != (auth.Identity{}) {
		t.Errorf("%s: %+v, %v; want %q, %v", what, who, err, want, wantErr)
	}
}

// Only both halves of one session together give access, each in its own place.
func TestSession(t *testing.T) {
	store := newMemory()
	secret, token := store.add(t, "alice", auth.TypeUser, 0)
	maker := auth.NewAuthenticator(store)
	s, other := begin(t, maker, token.ID), begin(t, maker, token.ID)
	if s.ID == other.ID || s.Cookie == other.Cookie || s.Half == other.Half || s.ID == token.ID {
		t.Fatalf("twice the same: %+v, %+v", s, other)
	}
	tossed := paired(s.ID+"."+strings.Repeat("A", 43), "")
	tossed.Header.Add("Cookie", pageCookie+"="+other.Cookie)
	tossed.Header.Add("Cookie", pageCookie+"="+s.Cookie)
	tossed.Header.Set(auth.SessionHeader, s.Half)
	twice := paired(s.Cookie, s.Half)
	twice.Header.Add(auth.SessionHeader, s.Half)
	elsewhere := paired("", s.Half)
	elsewhere.Header.Add("Cookie", "kapi_ffffffff="+s.Cookie)
	for _, c := range []struct {
		what string
		r    *http.Request
		want string
		err  error
	}{
		{"both", paired(s.Cookie, s.Half), token.ID, nil},
		{"both, in a browser", fromBrowser(paired(s.Cookie, s.Half), "Sec-Fetch-Site"), token.ID, nil},
		{"among cookies that others have set", tossed, token.ID, nil},

		{"nothing", request(), "", auth.ErrNoToken},
		{"the cookie alone", paired(s.Cookie, ""), "", auth.ErrNoToken},
		{"the other half alone", paired("", s.Half), "", auth.ErrNoToken},
		{"under another store's name", elsewhere, "", auth.ErrNoToken},
		{"halves of two", paired(s.Cookie, other.Half), "", auth.ErrInvalidToken},
		{"the id of the one, the secret of the other", paired(s.ID+other.Cookie[16:], s.Half), "", auth.ErrInvalidToken},
		{"the cookie as the other half", paired(s.Cookie, s.Cookie), "", auth.ErrInvalidToken},
		{"the cookie in the shape of the other half", paired(s.Cookie, "kapi."+s.Cookie), "", auth.ErrInvalidToken},
		{"the other half as the cookie", paired(strings.TrimPrefix(s.Half, "kapi."), s.Half), "", auth.ErrInvalidToken},
		{"a token as both", paired(secret, secret), "", auth.ErrInvalidToken},
		{"the half twice", twice, "", auth.ErrInvalidToken},
		{"another spelling", paired(s.Cookie+"=", s.Half), "", auth.ErrInvalidToken},
	} {
		a := auth.NewAuthenticator(store) // the same one twice: what it remembers changes no answer
		check(t, a, c.what, c.r, c.want, c.err)
		check(t, a, c.what+" again", c.r, c.want, c.err)
	}
	for _, secret := range []string{s.Cookie, s.Half, s.Cookie + "." + s.Half, token.ID + s.Half[len("kapi."):]} {
		for _, r := range []*http.Request{request("Bearer " + secret), request("Bot " + secret), withCookie(request(), secret)} {
			if who, err := maker.Authenticate(r); !errors.Is(err, auth.ErrInvalidToken) {
				t.Errorf("%v was taken for a token: %+v, %v", r.Header, who, err)
			}
		}
	}
	for text, want := range map[string]bool{s.Half: true, s.Cookie: false, secret: false, "kapi.x.y": false, "": false, "kapi." + s.ID + "\n." + s.Half[22:]: false} {
		if auth.IsSessionHalf(text) != want {
			t.Errorf("IsSessionHalf(%q) is %v", text, !want)
		}
	}
	if !auth.IsToken(secret) || auth.IsToken(s.Half) || auth.IsToken(s.Cookie) || auth.IsToken("a.b.c") {
		t.Error("IsToken takes another thing for a token, or no token for one")
	}
}

// The record of a session reveals neither half.
func TestSessionIsKeptHashed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		_, token := store.add(t, "alice", auth.TypeBot, 0)
		s := begin(t, auth.NewAuthenticator(store), token.ID)
		kept := store.tokens[s.ID]
		now := time.Now().UnixMilli()
		want := auth.Token{
			ID: s.ID, Name: "alice", Type: auth.TypeBot, CreatedAt: now, ExpiresAt: now + 7*24*3_600_000,
			Hash: kept.Hash, Session: true, By: token.ID,
		}
		if kept != want || s.ExpiresAt != want.ExpiresAt {
			t.Errorf("kept %+v, want %+v", kept, want)
		}
		if kept.Hash == token.Hash || kept.Hash == ([32]byte{}) {
			t.Error("the hash is none of its own")
		}
	})
}

// A session always has the current identity and permissions of its token.
func TestSessionFollowsItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		_, token := store.add(t, "alice", auth.TypeUser, 0)
		a := auth.NewAuthenticator(store)
		s := begin(t, a, token.ID)
		who, err := a.AuthenticateSession(paired(s.Cookie, s.Half), pageCookie)
		if want := (auth.Identity{ID: token.ID, Name: "alice", Type: auth.TypeUser, Permissions: auth.Admin}); err != nil || who != want {
			t.Errorf("%+v, %v; want %+v", who, err, want)
		}
		less := token
		less.Permissions = 0
		if err := store.AddToken(t.Context(), less); err != nil { // which replaces it
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if who, err := a.AuthenticateSession(paired(s.Cookie, s.Half), pageCookie); err != nil || who.Permissions != 0 {
			t.Errorf("with a token of less permissions: %+v, %v", who, err)
		}
		// Another process removes it, with a build that knows no sessions.
		if err := store.RemoveToken(t.Context(), token.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		check(t, a, "its token is gone", paired(s.Cookie, s.Half), "", auth.ErrInvalidToken)
		if _, err := a.BeginSession(t.Context(), token.ID); !errors.Is(err, auth.ErrUnknownToken) {
			t.Errorf("a session of a token that is gone: %v", err)
		}
	})
}

func TestRevokingATokenEndsItsSessionsAtOnce(t *testing.T) {
	store := newMemory()
	_, token := store.add(t, "alice", auth.TypeUser, 0)
	_, other := store.add(t, "bob", auth.TypeUser, 0)
	a := auth.NewAuthenticator(store)
	s, kept := begin(t, a, token.ID), begin(t, a, other.ID)
	check(t, a, "before", paired(s.Cookie, s.Half), token.ID, nil)
	check(t, a, "before", paired(kept.Cookie, kept.Half), other.ID, nil)
	if err := a.Revoke(t.Context(), token.ID); err != nil {
		t.Fatal(err)
	}
	check(t, a, "after", paired(s.Cookie, s.Half), "", auth.ErrInvalidToken)
	check(t, a, "another's", paired(kept.Cookie, kept.Half), other.ID, nil)
}

func TestSessionEnds(t *testing.T) {
	store := newMemory()
	secret, token := store.add(t, "alice", auth.TypeUser, 0)
	a := auth.NewAuthenticator(store)
	s, kept := begin(t, a, token.ID), begin(t, a, token.ID)
	check(t, a, "before", paired(s.Cookie, s.Half), token.ID, nil)
	for what, r := range map[string]*http.Request{
		"nothing": request(), "the cookie alone": paired(s.Cookie, ""), "the other half alone": paired("", s.Half), "a wrong half": paired(s.Cookie, kept.Half),
	} {
		if id, err := a.EndSession(r, pageCookie); id != "" || err != nil {
			t.Errorf("%s: ended %q, %v", what, id, err)
		}
	}
	if id, err := a.EndSession(paired(s.Cookie, s.Half), pageCookie); id != s.ID || err != nil {
		t.Errorf("ended %q, %v", id, err)
	}
	check(t, a, "ended", paired(s.Cookie, s.Half), "", auth.ErrInvalidToken)
	check(t, a, "another of the same token", paired(kept.Cookie, kept.Half), token.ID, nil)
	if id, err := a.EndSession(paired(s.Cookie, s.Half), pageCookie); id != "" || err != nil {
		t.Errorf("ended twice: %q, %v", id, err)
	}
	if err := a.Revoke(t.Context(), kept.ID); err != nil {
		t.Error(err)
	}
	check(t, a, "revoked like a token", paired(kept.Cookie, kept.Half), "", auth.ErrInvalidToken)
	if _, err := a.Authenticate(request("Bearer " + secret)); err != nil {
		t.Errorf("its token: %v", err)
	}
}

// A session lasts a week, or as long as its token, however it is used.
func TestSessionExpires(t *testing.T) {
	for what, c := range map[string]struct{ token, want time.Duration }{
		"of a token for ever": {0, 7 * 24 * time.Hour},
		"of one that is long": {90 * 24 * time.Hour, 7 * 24 * time.Hour},
		"of one for a minute": {time.Minute, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			store := newMemory()
			_, token := store.add(t, "alice", auth.TypeUser, c.token)
			a := auth.NewAuthenticator(store)
			s := begin(t, a, token.ID)
			for range 10 {
				time.Sleep(c.want / 11)
				check(t, a, what, paired(s.Cookie, s.Half), token.ID, nil)
			}
			time.Sleep(c.want/11 - time.Millisecond)
			check(t, a, what, paired(s.Cookie, s.Half), token.ID, nil) // and now it is remembered
			time.Sleep(2 * time.Millisecond)
			check(t, a, what, paired(s.Cookie, s.Half), "", auth.ErrExpiredToken)
			if id, err := a.EndSession(paired(s.Cookie, s.Half), pageCookie); id != "" || err != nil {
				t.Errorf("%s: ended %q, %v", what, id, err)
			}
			if c.token == time.Minute {
				if _, err := a.BeginSession(t.Context(), token.ID); !errors.Is(err, auth.ErrExpiredToken) {
					t.Errorf("%s: begun anew: %v", what, err)
				}
			}
		})
	}
}

// Sessions that have expired or lost their token are removed from the store when the next one begins.
func TestSessionsAreSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		_, token := store.add(t, "alice", auth.TypeUser, 0)
		_, gone := store.add(t, "bob", auth.TypeUser, 0)
		_, expired := store.add(t, "carol", auth.TypeUser, time.Hour)
		a := auth.NewAuthenticator(store)
		begin(t, a, token.ID)
		begin(t, a, expired.ID)
		time.Sleep(8 * 24 * time.Hour)
		orphan := begin(t, a, gone.ID)
		kept := begin(t, a, token.ID)
		linked, err := a.BeginSessionWithout(t.Context(), "a link", auth.Admin)
		if err != nil {
			t.Fatal(err)
		}
		if store.tokens[orphan.ID] == (auth.Token{}) {
			t.Error("it was swept too early")
		}
		if err := store.RemoveToken(t.Context(), gone.ID); err != nil {
			t.Fatal(err)
		}
		last := begin(t, a, token.ID)
		// Tokens stay: only people remove them.
		want := []string{token.ID, expired.ID, kept.ID, linked.ID, last.ID}
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(store.tokens)); !slices.Equal(got, want) {
			t.Errorf("the store has %v, want %v", got, want)
		}
	})
}

// A session without a token has an identity of its own.
func TestSessionWithout(t *testing.T) {
	store := newMemory()
	a := auth.NewAuthenticator(store)
	s, err := a.BeginSessionWithout(t.Context(), "the link", auth.Admin)
	if err != nil {
		t.Fatal(err)
	}
	who, err := a.AuthenticateSession(paired(s.Cookie, s.Half), pageCookie)
	if want := (auth.Identity{ID: s.ID, Name: "the link", Type: auth.TypeUser, Permissions: auth.Admin}); err != nil || who != want {
		t.Errorf("%+v, %v; want %+v", who, err, want)
	}
	if _, err := a.BeginSession(t.Context(), s.ID); !errors.Is(err, auth.ErrUnknownToken) {
		t.Errorf("a session of a session: %v", err)
	}
	if _, err := a.BeginSessionWithout(t.Context(), " ", auth.Admin); err == nil {
		t.Error("it needs no name")
	}
	if _, err := a.EndSession(paired(s.Cookie, s.Half), pageCookie); err != nil {
		t.Error(err)
	}
	check(t, a, "ended", paired(s.Cookie, s.Half), "", auth.ErrInvalidToken)
}

// Records that no build of kapi writes give no access.
func TestSessionOfASession(t *testing.T) {
	store := newMemory()
	_, token := store.add(t, "alice", auth.TypeUser, 0)
	a := auth.NewAuthenticator(store)
	s, other := begin(t, a, token.ID), begin(t, a, token.ID)
	row := store.tokens[s.ID]
	row.By = other.ID
	store.tokens[s.ID] = row
	check(t, a, "by a session", paired(s.Cookie, s.Half), "", auth.ErrInvalidToken)
	row.By, row.Session = token.ID, false
	store.tokens[s.ID] = row
	check(t, a, "a token's row", paired(s.Cookie, s.Half), "", auth.ErrInvalidToken)
	secret, flagged := store.add(t, "bob", auth.TypeUser, 0)
	flagged.Session = true
	store.tokens[flagged.ID] = flagged
	if who, err := a.Authenticate(request("Bearer " + secret)); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("a session's row as a token: %+v, %v", who, err)
	}
}

func TestSessionsInAnOutage(t *testing.T) {
	store := newMemory()
	_, token := store.add(t, "alice", auth.TypeUser, 0)
	a := auth.NewAuthenticator(store)
	s := begin(t, a, token.ID)
	store.fail = errors.New("disk on fire")
	_, begun := a.BeginSession(t.Context(), token.ID)
	_, used := a.AuthenticateSession(paired(s.Cookie, s.Half), pageCookie)
	_, ended := a.EndSession(paired(s.Cookie, s.Half), pageCookie)
	for what, err := range map[string]error{"begin": begun, "use": used, "end": ended} {
		if !errors.Is(err, store.fail) || errors.Is(err, auth.ErrInvalidToken) || strings.Contains(err.Error(), s.Half) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestSessionEndedDuringALookup(t *testing.T) {
	store := newMemory()
	_, token := store.add(t, "alice", auth.TypeUser, 0)
	a := auth.NewAuthenticator(store)
	s := begin(t, a, token.ID)
	var once bool
	store.during = func() {
		if !once {
			once = true
			if err := a.Revoke(context.Background(), s.ID); err != nil {
				t.Error(err)
			}
		}
	}
	check(t, a, "it was there when it was read", paired(s.Cookie, s.Half), token.ID, nil)
	check(t, a, "and is not put back", paired(s.Cookie, s.Half), "", auth.ErrInvalidToken)
}

// A text without the form of a session never reaches the store.
func FuzzAuthenticateSession(f *testing.F) {
	store := newMemory()
	_, token, err := auth.New("seed", auth.TypeUser, auth.Admin, 0)
	if err != nil {
		f.Fatal(err)
	}
	if err := store.AddToken(f.Context(), token); err != nil {
		f.Fatal(err)
	}
	a := auth.NewAuthenticator(store)
	s, err := a.BeginSession(f.Context(), token.ID)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("", "")
	f.Add(pageCookie+"="+s.Cookie, s.Half)
	f.Add(pageCookie+"="+s.Cookie+"; "+pageCookie+"="+s.ID+".", s.Half+"=")
	f.Add(pageCookie+"="+s.ID+".A", "kapi."+s.ID+".A")
	f.Fuzz(func(t *testing.T, cookies, half string) {
		r := withHeaders("", cookies)
		r.Header[auth.SessionHeader] = []string{half}
		who, err := a.AuthenticateSession(r, pageCookie)
		switch {
		case err == nil && (who.ID != token.ID || half != s.Half || !strings.Contains(cookies, s.Cookie)):
			t.Errorf("cookies %q, half %q were taken for the session", cookies, half)
		case err != nil && !errors.Is(err, auth.ErrInvalidToken) && !errors.Is(err, auth.ErrNoToken):
			t.Errorf("cookies %q, half %q: %v", cookies, half, err)
		}
	})
}
