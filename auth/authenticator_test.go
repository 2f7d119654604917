package auth_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/kettubot/kapi/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAuthenticate(t *testing.T) {
	store := newMemory()
	user, userToken := store.add(t, "alice", auth.TypeUser, 0)
	bot, botToken := store.add(t, "robot", auth.TypeBot, 0)
	kettu, kettuToken := store.add(t, "kettu", auth.TypeKettu, 0)
	other, _, err := auth.New("stranger", auth.TypeUser, auth.Admin, 0)
	if err != nil {
		t.Fatal(err)
	}
	// The right id with another secret: what somebody who saw a list of ids can make.
	forged := user[:strings.LastIndex(user, ".")] + other[strings.LastIndex(other, "."):]

	for _, c := range []struct {
		what string
		r    *http.Request
		want string
		err  error
	}{
		{"user, Bearer", request("Bearer " + user), userToken.ID, nil},
		{"bot, Bot", request("Bot " + bot), botToken.ID, nil},
		{"kettu, Bot", request("Bot " + kettu), kettuToken.ID, nil},
		{"the scheme in other case", request("bEARER " + user), userToken.ID, nil},
		{"BOT", request("BOT " + bot), botToken.ID, nil},
		{"more spaces", request("  Bearer   " + user + " "), userToken.ID, nil},
		{"user in the cookie", withCookie(request(), user), userToken.ID, nil},
		{"bot in the cookie", withCookie(request(), bot), botToken.ID, nil},
		{"kettu in the cookie", withCookie(request(), kettu), kettuToken.ID, nil},
		{"the cookie in quotes", withCookie(request(), `"`+user+`"`), userToken.ID, nil},
		{"an empty cookie before a full one", withCookie(withCookie(request(), ""), user), userToken.ID, nil},
		{"header beats cookie", withCookie(request("Bot "+bot), user), botToken.ID, nil},

		{"the cookie in a browser, which has an Origin", fromBrowser(withCookie(request(), user), "Origin"), "", auth.ErrNoToken},
		{"the cookie in a browser, of no origin", fromBrowser(withCookie(request(), user), "Origin", ""), "", auth.ErrNoToken},
		{"the cookie in a browser, which says where from", fromBrowser(withCookie(request(), user), "Sec-Fetch-Site"), "", auth.ErrNoToken},
		{"the header in a browser", fromBrowser(request("Bearer "+user), "Origin"), userToken.ID, nil},

		{"nothing", request(), "", auth.ErrNoToken},
		{"an empty cookie", withCookie(request(), ""), "", auth.ErrNoToken},
		{"a wrong header beats a good cookie", withCookie(request("Bearer "+other), user), "", auth.ErrInvalidToken},
		{"an empty header beats a good cookie", withCookie(request(""), user), "", auth.ErrInvalidToken},
		{"user, Bot", request("Bot " + user), "", auth.ErrInvalidToken},
		{"bot, Bearer", request("Bearer " + bot), "", auth.ErrInvalidToken},
		{"kettu, Bearer", request("Bearer " + kettu), "", auth.ErrInvalidToken},
		{"two headers", request("Bearer "+user, "Bearer "+user), "", auth.ErrInvalidToken},
		{"no scheme", request(user), "", auth.ErrInvalidToken},
		{"another scheme", request("Basic " + user), "", auth.ErrInvalidToken},
		{"a scheme alone", request("Bearer"), "", auth.ErrInvalidToken},
		{"a scheme and a space", request("Bearer "), "", auth.ErrInvalidToken},
		{"a comma", request("Bearer," + user), "", auth.ErrInvalidToken},
		{"a tab", request("Bearer\t" + user), "", auth.ErrInvalidToken},
		{"two tokens", request("Bearer " + user + " " + user), "", auth.ErrInvalidToken},
		{"unknown", request("Bearer " + other), "", auth.ErrInvalidToken},
		{"forged", request("Bearer " + forged), "", auth.ErrInvalidToken},
		{"forged in the cookie", withCookie(request(), forged), "", auth.ErrInvalidToken},
		{"no token at all", request("Bearer x.y.z"), "", auth.ErrInvalidToken},
		{"a scheme in the cookie", withCookie(request(), "Bearer "+user), "", auth.ErrInvalidToken},
	} {
		// With a new Authenticator each time, and with the same one again: the cache changes no answer.
		a := auth.NewAuthenticator(store)
		for _, round := range []string{"", " again"} {
			who, err := a.Authenticate(c.r)
			if !errors.Is(err, c.err) || who.ID != c.want {
				t.Errorf("%s%s: got %q, %v; want %q, %v", c.what, round, who.ID, err, c.want, c.err)
			}
			if err != nil && who != (auth.Identity{}) {
				t.Errorf("%s%s: an error, and yet %+v", c.what, round, who)
			}
		}
	}

	who, err := auth.NewAuthenticator(store).Authenticate(request("Bot " + bot))
	want := auth.Identity{ID: botToken.ID, Name: "robot", Type: auth.TypeBot, Permissions: auth.Admin}
	if err != nil || who != want {
		t.Errorf("got %+v, %v; want %+v", who, err, want)
	}
}

func TestWhatIsNoTokenNeverReachesTheStore(t *testing.T) {
	store := newMemory()
	a := auth.NewAuthenticator(store)
	for _, header := range []string{"", "Bearer", "Bearer x.y.z", "Bearer " + strings.Repeat("a", 1<<20), "Basic dXNlcjpwYXNz"} {
		if _, err := a.Authenticate(request(header)); !errors.Is(err, auth.ErrInvalidToken) {
			t.Errorf("%.30q: %v", header, err)
		}
	}
	if store.lookups != 0 {
		t.Errorf("%d look-ups, want none", store.lookups)
	}
}

func TestStoreFailureIsNotAnInvalidToken(t *testing.T) {
	store := newMemory()
	secret, _ := store.add(t, "alice", auth.TypeUser, 0)
	store.fail = errors.New("disk on fire")
	_, err := auth.NewAuthenticator(store).Authenticate(request("Bearer " + secret))
	if !errors.Is(err, store.fail) {
		t.Errorf("got %v, want it to wrap %v", err, store.fail)
	}
	for _, no := range []error{auth.ErrNoToken, auth.ErrInvalidToken, auth.ErrExpiredToken, auth.ErrUnknownToken} {
		if errors.Is(err, no) {
			t.Errorf("%v is taken for %v", err, no)
		}
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("%v holds the secret", err)
	}
}

func TestExpiryShowsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		secret, _ := store.add(t, "alice", auth.TypeUser, time.Minute)
		a := auth.NewAuthenticator(store)
		check := func(want error) {
			t.Helper()
			if _, err := a.Authenticate(request("Bearer " + secret)); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		}
		time.Sleep(time.Minute - time.Millisecond)
		check(nil) // and now it is in the cache
		time.Sleep(time.Millisecond)
		check(auth.ErrExpiredToken)
		time.Sleep(time.Hour)
		check(auth.ErrExpiredToken)
	})
}

func TestRevocationElsewhereShowsWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		secret, tok := store.add(t, "alice", auth.TypeUser, 0)
		a := auth.NewAuthenticator(store)
		var valid time.Duration
		for range 1000 {
			if _, err := a.Authenticate(request("Bearer " + secret)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		if store.lookups != 2 {
			t.Errorf("%d look-ups in a second, want 2", store.lookups)
		}
		if err := store.RemoveToken(t.Context(), tok.ID); err != nil {
			t.Fatal(err)
		}
		for start := time.Now(); ; time.Sleep(time.Millisecond) {
			_, err := a.Authenticate(request("Bearer " + secret))
			valid = time.Since(start)
			if errors.Is(err, auth.ErrInvalidToken) {
				break
			}
			if err != nil || valid > time.Second {
				t.Fatalf("after %v: %v", valid, err)
			}
		}
		if valid > 500*time.Millisecond {
			t.Errorf("it took %v", valid)
		}
	})
}

func TestRevokeShowsAtOnce(t *testing.T) {
	store := newMemory()
	secret, tok := store.add(t, "alice", auth.TypeUser, 0)
	kept, _ := store.add(t, "bob", auth.TypeUser, 0)
	a := auth.NewAuthenticator(store)
	for _, s := range []string{secret, kept} {
		if _, err := a.Authenticate(request("Bearer " + s)); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Revoke(t.Context(), tok.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Authenticate(request("Bearer " + secret)); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("after its revocation: %v", err)
	}
	if _, err := a.Authenticate(request("Bearer " + kept)); err != nil {
		t.Errorf("another one: %v", err)
	}
	if err := a.Revoke(t.Context(), tok.ID); !errors.Is(err, auth.ErrUnknownToken) {
		t.Errorf("revoked twice: %v", err)
	}
}

func TestRevokeDuringALookup(t *testing.T) {
	store := newMemory()
	secret, tok := store.add(t, "alice", auth.TypeUser, 0)
	a := auth.NewAuthenticator(store)
	store.during = func() {
		if err := a.Revoke(t.Context(), tok.ID); err != nil {
			t.Error(err)
		}
	}
	if _, err := a.Authenticate(request("Bearer " + secret)); err != nil {
		t.Fatal(err) // it was valid when it was read
	}
	store.during = nil
	if _, err := a.Authenticate(request("Bearer " + secret)); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("the look-up put the revoked token back: %v", err)
	}
}

func TestManyTokensAtOnce(t *testing.T) {
	store := newMemory()
	a := auth.NewAuthenticator(store)
	secrets := make([]string, 3000) // more than the cache holds
	for i := range secrets {
		secrets[i], _ = store.add(t, "n", auth.TypeUser, 0)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for _, s := range secrets {
				if _, err := a.Authenticate(request("Bearer " + s)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

func FuzzAuthenticate(f *testing.F) {
	secret, tok, err := auth.New("seed", auth.TypeUser, auth.Admin, 0)
	if err != nil {
		f.Fatal(err)
	}
	store := newMemory()
	if err := store.AddToken(f.Context(), tok); err != nil {
		f.Fatal(err)
	}
	a := auth.NewAuthenticator(store)
	f.Add("", "")
	f.Add("Bearer "+secret, "")
	f.Add("Bot "+secret, "sess="+secret)
	f.Add("Bearer x.y.z", `sess="`+secret+`"; sess=`)
	f.Fuzz(func(t *testing.T, header, cookie string) {
		r := withHeaders(header, cookie)
		who, err := a.Authenticate(r)
		switch {
		case err == nil && who.ID != tok.ID:
			t.Errorf("header %q, cookie %q: nobody's identity %+v", header, cookie, who)
		case err == nil && !strings.Contains(header, secret) && !strings.Contains(cookie, secret):
			t.Errorf("header %q, cookie %q were taken for the token", header, cookie)
		case err != nil && !errors.Is(err, auth.ErrInvalidToken) && !errors.Is(err, auth.ErrNoToken):
			t.Errorf("header %q, cookie %q: %v", header, cookie, err)
		}
	})
}
