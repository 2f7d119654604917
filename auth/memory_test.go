package auth_test

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kettubot/kapi/auth"
)

// memory keeps tokens in a map and counts the look-ups.
type memory struct {
	mu      sync.Mutex
	tokens  map[string]auth.Token
	lookups int
	lists   int
	fail    error
	// during, if set, is called while a look-up is under way, after it has read.
	during func()
}

func newMemory() *memory { return &memory{tokens: make(map[string]auth.Token)} }

func (m *memory) AddToken(_ context.Context, t auth.Token) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tokens[t.ID] = t
	return nil
}

func (m *memory) Tokens(context.Context) ([]auth.Token, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lists++
	return slices.Collect(maps.Values(m.tokens)), m.fail
}

func (m *memory) FindToken(_ context.Context, id string) (auth.Token, error) {
	m.mu.Lock()
	m.lookups++
	t, ok := m.tokens[id]
	fail, during := m.fail, m.during
	m.mu.Unlock()
	if during != nil {
		during()
	}
	switch {
	case fail != nil:
		return auth.Token{}, fail
	case !ok:
		return auth.Token{}, auth.ErrUnknownToken
	}
	return t, nil
}

func (m *memory) RemoveToken(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.tokens[id]; !ok {
		return auth.ErrUnknownToken
	}
	delete(m.tokens, id)
	return nil
}

// add makes a token and keeps it.
func (m *memory) add(t *testing.T, name string, typ auth.Type, lifetime time.Duration) (string, auth.Token) {
	t.Helper()
	secret, tok, err := auth.New(name, typ, auth.Admin, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.AddToken(t.Context(), tok); err != nil {
		t.Fatal(err)
	}
	return secret, tok
}

// request makes a request with these Authorization headers.
func request(headers ...string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	if headers != nil {
		r.Header["Authorization"] = headers
	}
	return r
}

func withCookie(r *http.Request, value string) *http.Request {
	r.Header.Add("Cookie", "sess="+value)
	return r
}

func withHeaders(header, cookie string) *http.Request {
	r := request()
	if header != "" {
		r.Header.Set("Authorization", header)
	}
	r.Header.Set("Cookie", cookie)
	return r
}

// fromBrowser adds a header that only browsers send; its value doesn't matter.
func fromBrowser(r *http.Request, header string, value ...string) *http.Request {
	r.Header[header] = append(value, "same-origin")[:1]
	return r
}
