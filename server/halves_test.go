package server_test

import (
	"crypto/rand"
	"encoding/base64"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/server"
)

// Half of a session gives no access, nor does a session elsewhere.
func TestHalfASession(t *testing.T) {
	d, other := newDoor(t, server.Options{RateLimitAddress: -1}), newDoor(t, server.Options{})
	secret, token := d.tokens.add(t, auth.TypeUser)
	s, second := d.signIn(secret), d.signIn(secret)
	for name, tt := range map[string]struct {
		headers []string
		golden  string
	}{
		"the cookie":                       {[]string{s.cookieHeader()}, "notoken"},
		"the cookie, of this origin":       {[]string{s.cookieHeader(), "Origin: http://example.com", "Sec-Fetch-Site: same-origin"}, "notoken"},
		"the other half":                   {[]string{s.halfHeader()}, "notoken"},
		"halves of two sessions":           {[]string{s.cookieHeader(), second.halfHeader()}, "invalid"},
		"the cookie twice":                 {[]string{s.cookieHeader(), "X-Kapi-Session: " + s.cookie}, "invalid"},
		"the cookie by another name":       {[]string{"Cookie: sess=" + s.cookie}, "invalid"},
		"the cookie by another store's":    {[]string{"Cookie: kapi_00000000=" + s.cookie, s.halfHeader()}, "notoken"},
		"the cookie as a token":            {[]string{"Authorization: Bearer " + s.cookie}, "invalid"},
		"the other half as a token":        {[]string{"Authorization: Bearer " + s.half}, "invalid"},
		"a bad token, and all of it":       {append(s.headers(), "Authorization: Bearer x.y.z"), "invalid"},
		"the token itself, in a browser":   {[]string{"Cookie: sess=" + secret, "Sec-Fetch-Site: same-origin"}, "notoken"},
		"the token itself, with an origin": {[]string{"Cookie: sess=" + secret, "Origin: http://example.com"}, "notoken"},
		"the cookie and the token":         {[]string{s.cookieHeader() + "; sess=" + secret, "Sec-Fetch-Site: same-origin"}, "notoken"},
	} {
		w := d.send("GET", "/v4/kapi/actions", "", tt.headers...)
		if golden(t, tt.golden+".json", w); w.Code != 401 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	for name, headers := range map[string][]string{
		"both": s.headers(), "the token in a client's cookie": {"Cookie: sess=" + secret},
		"a good token, and half of it": {s.cookieHeader(), "Authorization: Bearer " + secret},
	} {
		if got := d.list(headers...); got != 200 {
			t.Errorf("%s: %d", name, got)
		}
	}
	if got := other.list(s.headers()...); got != 401 {
		t.Errorf("at another store's server: %d", got)
	}
	if name := other.signIn(func() string { secret, _ := other.tokens.add(t, auth.TypeUser); return secret }()).name; name == s.name {
		t.Errorf("two stores have the cookie %s", name)
	}
	if second.name != s.name {
		t.Errorf("one store has the cookies %s and %s", s.name, second.name)
	}
	if err := d.tokens.RemoveToken(t.Context(), token.ID); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Second)
	for d.list(s.headers()...) != 401 {
		if time.Now().After(deadline) {
			t.Fatal("a second after its token was revoked the session is still good")
		}
	}
}

// Requests of a page of this origin are allowed; those that another origin's page makes the browser send are
// not.
func TestSessionAndOrigin(t *testing.T) {
	d := newDoor(t, server.Options{})
	secret, _ := d.tokens.add(t, auth.TypeUser)
	s := d.signIn(secret)
	post := func(more ...string) int {
		return d.send("POST", "/v4/kapi/actions", `{"title":"t"}`, append(append(s.headers(), asJSON), more...)...).Code
	}
	for _, own := range []string{"Sec-Fetch-Site: same-origin", "Origin: http://example.com"} {
		if got := post(own); got != 201 {
			t.Errorf("%s: %d", own, got)
		}
	}
	for _, elsewhere := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: https://evil.example", "Origin: http://example.com:81"} {
		if got := post(elsewhere); got != 403 {
			t.Errorf("%s: %d", elsewhere, got)
		}
	}
}

// A token that older versions kept in the browser is removed; other cookies with that name are left alone.
func TestOldCookieIsDropped(t *testing.T) {
	d := newDoor(t, server.Options{})
	embedded := newFixture(t, server.Options{})
	secret, _ := d.tokens.add(t, auth.TypeUser)
	const gone = "sess=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
	etag := d.send("GET", "/", "").Header().Get("ETag")
	for _, w := range []*httptest.ResponseRecorder{
		d.send("GET", "/", "", "Cookie: sess="+secret), d.send("GET", "/", "", "Cookie: sess="+secret, "If-None-Match: "+etag),
		d.send("DELETE", "/page/session", "", "Cookie: a=b; sess="+secret),
		d.send("POST", "/page/session", `{"token":"`+secret+`"}`, asJSON, "Cookie: sess=x; sess="+secret),
	} {
		if set := w.Header().Values("Set-Cookie"); len(set) == 0 || set[len(set)-1] != gone {
			t.Errorf("%d: %q", w.Code, set)
		}
	}
	for _, cookie := range []string{"", "sess=", "sess=a.b.c", "sess=other", "other=" + secret} {
		if set := d.send("GET", "/", "", "Cookie: "+cookie).Header().Values("Set-Cookie"); len(set) > 0 {
			t.Errorf("%q: %q", cookie, set)
		}
	}
	if set := embedded.send("GET", "/", "", "Cookie: sess="+secret).Header().Values("Set-Cookie"); len(set) > 0 {
		t.Errorf("with users of an embedder: %q", set)
	}
}

// An embedder's Authenticate is called for everything if Page.SignIn is not set.
func TestSessionsAreNotForEmbedders(t *testing.T) {
	f := newFixture(t, server.Options{})
	half := "kapi.aaaaaaaaaaaaaaaa." + strings.Repeat("A", 43)
	for _, headers := range [][]string{
		{"Cookie: sess=admin", "Sec-Fetch-Site: same-origin"}, {"Cookie: sess=admin", "X-Kapi-Session: " + half},
	} {
		if w := f.send("GET", "/v4/kapi/actions", "", headers...); w.Code != 200 {
			t.Errorf("%v: %d %s", headers, w.Code, w.Body)
		}
	}
}

// A cookie that was valid with its other half proves nothing when it comes with a guess.
func TestGuessingHalvesIsLimited(t *testing.T) {
	d := newDoor(t, server.Options{RateLimitAddress: 3})
	secret, _ := d.tokens.add(t, auth.TypeUser)
	s := d.signIn(secret)
	if got := d.list(s.headers()...); got != 200 {
		t.Fatal(got)
	}
	d.tokens.lookups.Store(0)
	refused, began := 0, time.Now()
	for range 200 {
		var random [32]byte
		rand.Read(random[:])
		guess := s.half[:len(s.half)-43] + base64.RawURLEncoding.EncodeToString(random[:])
		if d.list(s.cookieHeader(), "X-Kapi-Session: "+guess) == 429 {
			refused++
		}
	}
	if most := 50 * (1 + int64(time.Since(began)/time.Second)); refused < 150 || d.tokens.lookups.Load() > most {
		t.Errorf("of 200 guesses %d were refused, and %d looked up one by one", refused, d.tokens.lookups.Load())
	}
	if got := d.list(s.headers()...); got != 200 {
		t.Errorf("the session itself: %d", got)
	}
}

// Neither can halves be guessed by signing out; whoever has them signs out whatever others do at the
// address.
func TestSignOutIsLimited(t *testing.T) {
	d := newDoor(t, server.Options{RateLimitAddress: 3})
	secret, _ := d.tokens.add(t, auth.TypeUser)
	s, other := d.signIn(secret), d.signIn(secret)
	wrong := s.forged(other)
	refused := 0
	for range 50 {
		if w := d.send("DELETE", "/page/session", "", wrong.cookieHeader(), wrong.halfHeader()); w.Code == 429 {
			refused++
		}
	}
	if refused < 40 {
		t.Errorf("of 50 guesses %d were refused", refused)
	}
	if w := d.send("DELETE", "/page/session", "", s.headers()...); w.Code != 204 {
		t.Errorf("the session itself: %d %s", w.Code, w.Body)
	}
}

// Guessing is charged like everywhere else.
func TestSignInIsLimited(t *testing.T) {
	d := newDoor(t, server.Options{RateLimitAddress: 3})
	refused, began := 0, time.Now()
	for range 200 {
		wrong, _, err := auth.New("nobody", auth.TypeUser, auth.Admin, 0)
		if err != nil {
			t.Fatal(err)
		}
		if w := d.send("POST", "/page/session", `{"token":"`+wrong+`"}`, asJSON); w.Code == 429 {
			refused++
		}
	}
	if most := 50 * (1 + int64(time.Since(began)/time.Second)); refused < 150 || d.tokens.lookups.Load() > most {
		t.Errorf("of 200 wrong tokens %d were refused, and %d looked up one by one", refused, d.tokens.lookups.Load())
	}
}
