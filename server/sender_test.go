package server_test

import (
	"testing"

	"github.com/kettubot/kapi/server"
)

// The ETag of a runner's list changes with the runner's own actions only.
func TestTagOfASendersList(t *testing.T) {
	f := newFixture(t, server.Options{})
	start := func(who, title string) {
		t.Helper()
		expectStatus(t, f.send("POST", "/v4/kapi/actions", `{"title":"`+title+`"}`, "Authorization: Bearer "+who, jsonBody), 201)
	}
	tag := func() string { return f.as("run", "GET", "/v4/kapi/actions").Header().Get("Etag") }
	empty := tag()
	start("run", "mine")
	own := tag()
	start("admin", "another's")
	if now := tag(); now != own || own == empty {
		t.Errorf("the tag was %s, became %s by its own start, and %s by another's", empty, own, now)
	}
	if w := f.send("GET", "/v4/kapi/actions", "", "Authorization: Bearer run", "If-None-Match: "+own); w.Code != 304 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := f.send("GET", "/v4/kapi/actions", "", "Authorization: Bearer another-run", "If-None-Match: "+own); w.Code != 200 || w.Body.String() != "[]" {
		t.Errorf("another's: %d %s", w.Code, w.Body)
	}
}

// The body of a sign-in is bounded more tightly than other bodies, because strangers may send one.
func TestSignInIsSmall(t *testing.T) {
	d := newDoor(t, server.Options{MaxBody: 1 << 20})
	large := string(make([]byte, 5000))
	for _, kind := range []string{asJSON, asForm} {
		if w := d.send("POST", "/page/session", large, kind); w.Code != 413 {
			t.Errorf("%s: %d", kind, w.Code)
		}
	}
}
