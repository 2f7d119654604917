package origin

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestHosts(t *testing.T) {
	hosts, wrong, ok := NewHosts([]string{"Kapi.Example.", "10.0.0.7", "fe80::7", "[2001:db8::1]"})
	if !ok {
		t.Fatalf("NewHosts refused %q", wrong)
	}
	here := &net.TCPAddr{IP: net.ParseIP("192.0.2.5"), Port: 4080}
	for host, want := range map[string]bool{
		"localhost": true, "localhost:4080": true, "LOCALHOST": true, "localhost.": true,
		"127.0.0.1": true, "127.0.0.1:1": true, "[::1]": true, "[::1]:4080": true, "[0:0:0:0:0:0:0:1]": true,
		"kapi.example": true, "kapi.example:8443": true, "KAPI.example.:443": true,
		"10.0.0.7:80": true, "[FE80::7]": true, "[2001:db8:0::1]:1": true,
		"192.0.2.5:4080": true, // the address that it came in on

		"": false, "evil.example": false, "evil.example:4080": false, "localhost.evil.example": false,
		"kapi.example.evil.example": false, "evil.localhost": false, "127.0.0.2": false, "0.0.0.0": false, "127.1": false,
		"[::]": false, "[::ffff:127.0.0.1]": false, "192.0.2.6": false, "localhost:99999": false, "localhost:x": false,
		"u@localhost": false, "localhost@evil.example": false, "localhost/": false, "local\u212Aost": false,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, here))
		if r.Host = host; hosts.Answer(r) != want {
			t.Errorf("Answer for %q is not %v", host, want)
		}
		if any, _, _ := NewHosts(nil); !any.Answer(r) {
			t.Errorf("without names, %q is refused", host)
		}
	}
}

func TestName(t *testing.T) {
	for text, want := range map[string]string{
		"Kapi.Example": "kapi.example", "kapi.example.": "kapi.example", "::1": "::1", "[::1]": "::1", "127.0.0.1": "127.0.0.1",
		"": "", "kapi.example:443": "", "kapi.example:": "", "[::1]:443": "", "https://kapi.example": "", "kapi.example/": "",
		"*": "", "*.example": "", "müller.example": "", "a b": "", "u@kapi.example": "", ".": "",
	} {
		if got, ok := Name(text); got != want || ok != (want != "") {
			t.Errorf("Name(%q) is %q, %v", text, got, ok)
		}
	}
	if _, wrong, ok := NewHosts([]string{"kapi.example", "*"}); ok || wrong != "*" {
		t.Errorf("%q, %v", wrong, ok)
	}
}
