package gateway

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/wire"
)

// Half of a session in the identify goes with the cookie of the connection, and with nothing else.
func TestSessionHalf(t *testing.T) {
	b := newBench(t, Options{})
	half := "kapi.abcdefghijklmnop." + strings.Repeat("A", 43)
	var mu sync.Mutex
	var asked []http.Header
	var ended bool
	b.gateway.options.Authenticate = func(r *http.Request) (auth.Identity, error) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.Header)
		if ended || r.Header.Get(auth.SessionHeader) != half || r.Header.Get("Cookie") != "kapi_1=x" || r.Header["Authorization"] != nil {
			return auth.Identity{}, auth.ErrInvalidToken
		}
		return admin, nil
	}
	one := b.dialWith("?v=4", http.Header{"Cookie": {"kapi_1=x"}, "Authorization": {"Bearer a.d.min"}})
	_, ready := one.identify(`{"op":4,"d":{"token":"` + half + `","intents":64}}`)
	two := b.dialWith("?v=4", http.Header{"Cookie": {"kapi_1=x"}})
	two.next(3, "")
	two.send(`{"op":5,"d":{"token":"` + half + `","session_id":"` + ready.SessionID + `","seq":0}}`)
	two.next(0, "RESUMED")
	other := b.dialWith("?v=4", http.Header{"Cookie": {"kapi_1=x"}})
	other.next(3, "")
	other.send(`{"op":4,"d":{"token":"kapi.b.c","intents":64}}`)
	other.wantClose(wire.CodeToken)
	mu.Lock()
	for _, header := range asked[2:] { // the Authorization that other's token is tried as
		if header.Get("Authorization") != "" && (header["Cookie"] != nil || header[auth.SessionHeader] != nil) {
			t.Errorf("a token was asked about with %v", header)
		}
	}
	ended = true
	mu.Unlock()
	one.wantClose(wire.CodeToken)
	two.wantClose(wire.CodeToken)
}

// Sessions with the same cookie are separate: the end of one doesn't end the other.
func TestSessionsAreCheckedOneByOne(t *testing.T) {
	r := func(half string) *http.Request {
		return &http.Request{Header: http.Header{"Cookie": {"kapi_1=x"}, auth.SessionHeader: {half}}}
	}
	a, again, b := grantKey(r("a")), grantKey(r("a")), grantKey(r("b"))
	if a == b || a != again {
		t.Error("the header is no part of what tells them apart")
	}
}
