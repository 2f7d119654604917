package client_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/client"
)

// TestAddress: an address that can't be one is refused with what it lacks, and never quoted.
func TestAddress(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:4080":           "server must begin with http:// or https://",
		"localhost:4080":           "server must begin with http:// or https://",
		"hunter2.example":          "server must begin with http:// or https://",
		"":                         "server must begin with http:// or https://",
		"u:hunter2@h:4080/x":       "server must begin with http:// or https://",
		"wss://hunter2/gateway":    "server must begin with http:// or https://; the server says where its gateway is",
		"http://":                  "server has no host",
		"http:///hunter2":          "server has no host",
		"http://hunter2:x":         "server is not a URL",
		"https://u:hunter2@h":      "server must have no user, and nothing after its path",
		"https://h/?token=hunter2": "server must have no user, and nothing after its path",
	} {
		_, err := client.New(address, "", client.Options{})
		if err == nil || !errors.As(err, new(*kapi.InvalidError)) || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want %q", address, err, want)
		}
	}
}

// TestAddressWithVersion: /v4, which every example of a route has, may be a part of the address.
func TestAddressWithVersion(t *testing.T) {
	h := newHost(t)
	for _, path := range []string{"", "/", "/v4", "/v4/"} {
		c, err := client.New("http://"+h.address+path, "admin", client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.List(t.Context()); err != nil {
			t.Errorf("%q: %v", path, err)
		}
		_ = c.Close()
	}
	c, err := client.New("http://"+h.address+"/v4/kapi", "admin", client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.List(t.Context()); err == nil || !strings.Contains(err.Error(), "it has no such route: its URL must be only the address, and the prefix that kapi is mounted under") {
		t.Errorf("another path: %v", err)
	}
}

// TestNoKapi: a server that isn't kapi, or that is another one than it seems, is distinguished from one that
// refuses.
func TestNoKapi(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/moved/", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/there/", http.StatusMovedPermanently)
	})
	mux.HandleFunc("/plain/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "The plain HTTP request was sent to HTTPS port", http.StatusBadRequest)
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	for path, want := range map[string]string{
		"/moved": "it redirects to " + s.URL + ", use that",
		"/plain": "it answered 400 Bad Request: this is not kapi, or it requires https://",
		"/other": "it answered 404 Not Found: this is not kapi",
	} {
		c, err := client.New(s.URL+path, "x", client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Start(t.Context(), kapi.Spec{Title: "t"}, "")
		_ = c.Close()
		if err == nil || errors.Is(err, kapi.ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}
