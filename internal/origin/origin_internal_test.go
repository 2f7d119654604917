package origin

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestSame(t *testing.T) {
	for _, c := range []struct {
		origin, host string
		want         bool
	}{
		{"https://kapi.example", "kapi.example", true},
		{"https://kapi.example", "kapi.example:443", true},
		{"https://kapi.example:443", "kapi.example", true},
		{"http://kapi.example", "kapi.example:80", true},
		{"http://kapi.example:4080", "kapi.example:4080", true},
		{"https://kapi.example", "Kapi.EXAMPLE", true},
		{"HTTPS://KAPI.example", "kapi.example", true},
		{"https://kapi.example", "kapi.example.", true},
		{"https://kapi.example.", "kapi.example:443", true},
		{"https://kapi.example", "kapi.example.:443", true},
		{"https://kapi.example", "kapi.example:", true},
		{"http://[::1]:4080", "[::1]:4080", true},
		{"http://[::1]", "[0:0:0:0:0:0:0:1]:80", true},
		{"http://[fe80::1]", "[FE80::1]", true},
		{"http://[::1]", "::1", true},
		{"http://127.0.0.1:4080", "127.0.0.1:4080", true},
		{"https://xn--mller-kva.example", "xn--mller-kva.example", true},
		{"https://müller.example", "müller.example", true},

		{"https://kapi.example", "kapi.example:80", false}, // the origin's scheme decides
		{"http://kapi.example", "kapi.example:443", false},
		{"http://kapi.example:8080", "kapi.example", false},
		{"https://kapi.example", "kapi.example:4080", false},
		{"https://kapi.example:4443", "kapi.example:443", false},
		{"https://evil.example", "kapi.example", false},
		{"https://kapi.example.evil.example", "kapi.example", false},
		{"https://kapi.example@evil.example", "kapi.example", false},
		{"https://evil.example", "kapi.example@evil.example", false},
		{"https://u@kapi.example", "kapi.example", false},
		{"https://kapi.example/x", "kapi.example", false},
		{"https://kapi.example..", "kapi.example", false},
		{"https://xn--mller-kva.example", "müller.example", false}, // not converted to ASCII
		{"https://\u212Aapi.example", "kapi.example", false},       // the Kelvin sign
		{"https://KAPI.example", "\u212Aapi.example", false},
		{"chrome-extension://kapi", "kapi", false},
		{"null", "", false},
		{"", "", false},
		{"https://", "", false},
		{"https://.", ".", false},
		{"https://kapi.example:443x", "kapi.example", false},
		{"https://kapi.example", "kapi.example:99999", false},
		{"http://[::1", "[::1", false},
		{"http://[::1]x", "[::1]x", false},
		{"file://kapi.example", "kapi.example", false},
	} {
		if _, got := Same(c.origin, "", c.host); got != c.want {
			t.Errorf("Same(%q, any scheme, %q) is %v", c.origin, c.host, got)
		}
		scheme, _, _ := strings.Cut(strings.ToLower(c.origin), ":")
		if _, got := Same(c.origin, scheme, c.host); got != c.want {
			t.Errorf("Same(%q, %q, %q) is %v", c.origin, scheme, c.host, got)
		}
		for _, other := range []string{"http", "https"} {
			if _, got := Same(c.origin, other, c.host); got && other != scheme {
				t.Errorf("Same(%q, %q, %q)", c.origin, other, c.host)
			}
		}
	}
}

func TestOwn(t *testing.T) {
	for _, c := range []struct {
		target, origin, site string
		want                 bool
	}{
		{"http://kapi.example/", "", "", true}, // not a browser
		{"http://kapi.example/", "http://kapi.example", "", true},
		{"https://kapi.example/", "https://kapi.example", "", true},
		{"https://kapi.example/", "https://kapi.example", "same-origin", true},
		{"http://kapi.example/", "https://kapi.example", "same-origin", true}, // a proxy ends TLS
		{"http://kapi.example/", "", "same-origin", true},

		{"https://kapi.example/", "http://kapi.example", "", false},
		{"http://kapi.example/", "https://kapi.example", "", false},
		{"https://kapi.example/", "https://kapi.example", "cross-site", false},
		{"https://kapi.example/", "https://kapi.example", "same-site", false},
		{"https://kapi.example/", "", "cross-site", false},
		{"https://kapi.example/", "https://evil.example", "same-origin", false},
		{"https://kapi.example/", "null", "", false},
	} {
		r := httptest.NewRequest("GET", c.target, nil)
		for name, value := range map[string]string{"Origin": c.origin, "Sec-Fetch-Site": c.site} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		if _, got := Own(r); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestShown(t *testing.T) {
	for _, c := range []struct{ scheme, host, want string }{
		{"wss", "kapi.example:443", "kapi.example"},
		{"ws", "kapi.example:80", "kapi.example"},
		{"ws", "kapi.example:443", "kapi.example:443"},
		{"ws", "127.0.0.1:4080", "127.0.0.1:4080"},
		{"wss", "[::1]:443", "[::1]"},
		{"wss", "[::1]", "[::1]"},
		{"wss", "Kapi.Example.", "Kapi.Example."}, // as the client wrote it
		{"wss", "", ""},
	} {
		if got := Shown(c.scheme, c.host); got != c.want {
			t.Errorf("Shown(%q, %q) is %q, want %q", c.scheme, c.host, got, c.want)
		}
	}
}

func TestValid(t *testing.T) {
	for host, want := range map[string]bool{
		"kapi.example": true, "kapi.example:443": true, "[::1]:4080": true, "127.0.0.1": true,
		"": false, "a/b": false, "a b": false, "u@a": false, "a?b": false, "a#b": false, "a,b": true,
		":443": false, "::1": false, "x::": false, "a:x": false, "a\nb": false, "[::1": false,
	} {
		if Valid(host) != want {
			t.Errorf("Valid(%q) is not %v", host, want)
		}
	}
}

func FuzzSame(f *testing.F) {
	f.Add("https://kapi.example", "kapi.example:443")
	f.Add("http://[::1]:80", "[::1]")
	f.Fuzz(func(t *testing.T, origin, host string) {
		_, own := Same("https://"+host, "https", host)
		if Valid(host) && len(host) > 0 && host[0] != '.' && !own {
			t.Errorf("Same says that %q differs from itself", host)
		}
		if _, same := Same(origin, "", host); same && origin == "null" {
			t.Error("Same accepted the origin null")
		}
	})
}
