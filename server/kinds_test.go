package server_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/kapitest"
)

const (
	evilOrigin = "Origin: https://evil.example"
	ownOrigin  = "Origin: http://example.com" // of httptest's requests
)

// A kind is one of the ways in which a request says who sent it.
type kind struct {
	name    string
	headers []string
	// as is what it stands for: none, invalid or expired for strangers, else its permissions.
	as string
	// session says that it has both halves of one, whatever else there is.
	session bool
}

// stranger reports whether it authenticates nobody.
func (k kind) stranger() bool { return k.as == "none" || k.as == "invalid" || k.as == "expired" }

// elsewhere says that a browser sends it for a page of another origin; on the API that doesn't count with a
// token that no browser adds by itself.
func (k kind) elsewhere(page bool) bool {
	all := strings.Join(k.headers, "\n")
	return (strings.Contains(all, "evil.example") || strings.Contains(all, "cross-site")) && (page || !strings.Contains(all, "Authorization: "))
}

// secrets are tokens in a door's store, by what they may. Those of bots have "bot " before that.
func (d *door) secrets() map[string]string {
	d.t.Helper()
	all := map[string]string{"wrong": unknownToken(d.t)}
	for name, perms := range map[string]auth.Permissions{
		"plain": 0, "metrics": auth.ReadMetrics, "run": auth.RunActions, "admin": auth.Admin, "owner": auth.Owner,
	} {
		all[name], _ = d.tokens.addWith(d.t, auth.TypeUser, perms, 0)
		all["bot "+name], _ = d.tokens.addWith(d.t, auth.TypeBot, perms, 0)
	}
	all["kettu"], _ = d.tokens.addWith(d.t, auth.TypeKettu, auth.Kettu, 0)
	var token auth.Token
	all["expired"], token = d.tokens.addWith(d.t, auth.TypeUser, auth.Admin, time.Millisecond)
	kapitest.Eventually(d.t, "it has expired", func() bool { return time.Now().UnixMilli() >= token.ExpiresAt })
	return all
}

// unknownToken has a valid form, but is in no store.
func unknownToken(t *testing.T) string {
	t.Helper()
	secret, _, err := auth.New("nobody", auth.TypeUser, auth.Admin, 0)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// sessionOf returns a session without a token.
func (d *door) sessionOf(perms auth.Permissions, name string) signedIn {
	d.t.Helper()
	s, err := auth.NewAuthenticator(d.tokens).BeginSessionWithout(d.t.Context(), "a link", perms)
	if err != nil {
		d.t.Fatal(err)
	}
	return signedIn{name: name, cookie: s.Cookie, half: s.Half}
}

// forged has the id of s, and secrets of another.
func (s signedIn) forged(other signedIn) signedIn {
	id, _, _ := strings.Cut(s.cookie, ".")
	otherID, _, _ := strings.Cut(other.cookie, ".")
	return signedIn{
		name: s.name, cookie: strings.Replace(other.cookie, otherID, id, 1), half: strings.Replace(other.half, otherID, id, 1),
	}
}

// kinds are all of them. Each has a session of its own.
func (d *door) kinds(secrets map[string]string) []kind {
	d.t.Helper()
	bearer := func(name string) string { return "Authorization: Bearer " + secrets[name] }
	bot := func(name string) string { return "Authorization: Bot " + secrets[name] }
	sess := func(name string) string { return "Cookie: sess=" + secrets[name] }
	in := func() signedIn { return d.signIn(secrets["admin"]) }
	alone, crossed, other, ended := in(), in(), in(), in()
	if w := d.send("DELETE", "/page/session", "", ended.headers()...); w.Code != 204 {
		d.t.Fatal(w.Code, w.Body)
	}
	all := []kind{
		{name: "nothing", as: "none"},
		{name: "the cookie alone", headers: []string{alone.cookieHeader()}, as: "none"},
		{name: "the cookie alone, from the page", headers: []string{alone.cookieHeader(), ownOrigin}, as: "none"},
		{name: "the cookie alone, from elsewhere", headers: []string{alone.cookieHeader(), evilOrigin}, as: "none"},
		{name: "the half alone", headers: []string{alone.halfHeader(), ownOrigin}, as: "none"},
		{name: "sess, from the page", headers: []string{sess("admin"), ownOrigin}, as: "none"},
		{name: "sess, from elsewhere", headers: []string{sess("admin"), evilOrigin}, as: "none"},
		{name: "sess, from another site", headers: []string{sess("admin"), "Sec-Fetch-Site: cross-site"}, as: "none"},
		{name: "halves of two sessions", headers: []string{crossed.cookieHeader(), other.halfHeader()}, as: "invalid"},
		{name: "the cookie and a forged half", headers: []string{alone.cookieHeader(), alone.forged(other).halfHeader()}, as: "invalid"},
		{name: "a forged cookie and the half", headers: []string{alone.forged(other).cookieHeader(), alone.halfHeader()}, as: "invalid"},
		{name: "halves of an ended session", headers: ended.headers(), as: "invalid"},
		{name: "the cookie as a token", headers: []string{"Authorization: Bearer " + alone.cookie}, as: "invalid"},
		{name: "the half as a token", headers: []string{"Authorization: Bearer " + alone.half}, as: "invalid"},
		{name: "no token at all", headers: []string{"Authorization: Bearer "}, as: "invalid"},
		{name: "an unknown token", headers: []string{bearer("wrong")}, as: "invalid"},
		{name: "an unknown token in sess", headers: []string{sess("wrong")}, as: "invalid"},
		{name: "a user's token as a bot's", headers: []string{bot("admin")}, as: "invalid"},
		{name: "a bot's token as a user's", headers: []string{bearer("bot admin")}, as: "invalid"},
		{name: "a token as a password", headers: []string{"Authorization: Basic " + secrets["admin"]}, as: "invalid"},
		{name: "two tokens", headers: []string{bearer("admin"), bearer("owner")}, as: "invalid"},
		{name: "an unknown token, and a session", headers: append(in().headers(), bearer("wrong")), as: "invalid", session: true},
		{name: "expired", headers: []string{bearer("expired")}, as: "expired"},
		{name: "expired, in sess", headers: []string{sess("expired")}, as: "expired"},
		{name: "both halves", headers: in().headers(), as: "admin", session: true},
		{name: "both halves, from the page", headers: append(in().headers(), ownOrigin), as: "admin", session: true},
		{name: "both halves, from the same origin", headers: append(in().headers(), "Sec-Fetch-Site: same-origin"), as: "admin", session: true},
		{name: "both halves, from elsewhere", headers: append(in().headers(), evilOrigin), as: "admin", session: true},
		{name: "both halves, from another site", headers: append(in().headers(), "Sec-Fetch-Site: cross-site"), as: "admin", session: true},
		{name: "both halves of a runner", headers: d.sessionOf(auth.RunActions, alone.name).headers(), as: "run", session: true},
		{name: "both halves of one who may nothing", headers: d.sessionOf(0, alone.name).headers(), as: "plain", session: true},
		{name: "admin, from elsewhere", headers: []string{bearer("admin"), evilOrigin}, as: "admin"},
		{name: "owner", headers: []string{bearer("owner")}, as: "admin"},
		{name: "kettu", headers: []string{bot("kettu")}, as: "admin"},
	}
	for _, as := range []string{"plain", "metrics", "run", "admin"} {
		all = append(all, kind{name: as, headers: []string{bearer(as)}, as: as}, kind{name: "a bot, " + as, headers: []string{bot("bot " + as)}, as: as},
			kind{name: as + " in sess", headers: []string{sess(as)}, as: as})
	}
	return all
}
