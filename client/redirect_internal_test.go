package client

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kettubot/kapi"
)

// TestRedirectsTakeNoTokenAway: net/http's client would follow all of these, to the same host on another port
// even with the token.
func TestRedirectsTakeNoTokenAway(t *testing.T) {
	var asked atomic.Int32
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		t.Errorf("%s came with %q", r.URL, r.Header.Get("Authorization"))
	}))
	defer thief.Close()
	to := thief.URL
	redirect := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, to+r.URL.Path, http.StatusTemporaryRedirect)
	})
	plain, secure := httptest.NewServer(redirect), httptest.NewTLSServer(redirect)
	defer plain.Close()
	defer secure.Close()
	permissive := func(*http.Request, []*http.Request) error { return nil }
	for _, c := range []struct{ from, to, want string }{
		{secure.URL, thief.URL, "where others could read the token"},
		{plain.URL, thief.URL, "it redirects to another host"},
		{plain.URL, strings.Replace(thief.URL, "127.0.0.1", "localhost", 1), "it redirects to another host"},
	} {
		to = c.to
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // it is ours
		client, err := New(c.from, "secret", Options{HTTP: &http.Client{Transport: transport, CheckRedirect: permissive}})
		if err != nil {
			t.Fatal(err)
		}
		_, listErr := client.List(t.Context())
		_, watchErr := client.Watch(t.Context())
		_, startErr := client.Dismiss(context.Background(), "x", "")
		for _, err := range []error{listErr, watchErr, startErr} {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s to %s: %v", c.from, c.to, err)
			}
		}
		client.Close()
	}
	if asked.Load() > 0 {
		t.Error("it was asked")
	}
}

// TestRedirectsInPlace: a server may move within itself.
func TestRedirectsInPlace(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path, ok := strings.CutPrefix(r.URL.Path, "/old"); ok {
			http.Redirect(w, r, "/new"+path, http.StatusPermanentRedirect)
			return
		}
		if r.Header.Get("Authorization") != "Bearer secret" {
			t.Error("the token is lost")
		}
		_, _ = w.Write([]byte("[]"))
	}))
	defer server.Close()
	client, err := New(server.URL+"/old", "secret", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.List(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestServerIsUnambiguous(t *testing.T) {
	for _, address := range []string{"http://u:22/Sesame@127.0.0.1:1", "http://h/a@b", "http://u@h", "https://h?a@b"} {
		_, err := New(address, "", Options{})
		if invalid, ok := err.(*kapi.InvalidError); !ok || strings.Contains(invalid.Error(), "@") { //nolint:errorlint // itself
			t.Errorf("%s: %v", address, err)
		}
	}
}
