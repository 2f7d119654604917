package wellformed

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"/srv/café", ""},
		{"a\uFFFDb", ""}, // U+FFFD itself is a valid character
		{"/srv/caf\xe9", `is not valid UTF-8: byte 9 is 0xe9, after "/srv/caf"`},
		{"\xff", `is not valid UTF-8: byte 1 is 0xff`},
		{"\uFFFD\xc3", `is not valid UTF-8: byte 4 is 0xc3, after "` + "\uFFFD" + `"`},
		{"\xed\xa0\x80", `is not valid UTF-8: byte 1 is 0xed`}, // a surrogate, as in CESU-8
		{"\xc0\xaf", `is not valid UTF-8: byte 1 is 0xc0`},     // an overlong encoding of /
		{strings.Repeat("é", 50) + "\x80", `is not valid UTF-8: byte 101 is 0x80, after "…` + strings.Repeat("é", 40) + `"`},
	} {
		if got := Text(c.in); got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

func TestJSON(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`["a","café","\u00e9\n\"\\"]`, ""},
		{`"\ud83d\ude00"`, ""},
		{`"\\ud800"`, ""}, // a backslash and letters
		{`"\ufffd"`, ""},
		{`17`, ""},
		{`["/srv/caf` + "\xe9" + `"]`, `is not valid UTF-8: byte 9 is 0xe9, after "/srv/caf"`},
		{`["fine","` + "\xe9" + `"]`, `is not valid UTF-8: byte 1 is 0xe9`},
		{`"\u00e9\n` + "\xff" + `"`, `is not valid UTF-8: byte 4 is 0xff, after "én"`},
		{`"a\ud800"`, `is not valid Unicode: byte 2 is \ud800, half of a surrogate pair, after "a"`},
		{`"\uDC00\ud800"`, `is not valid Unicode: byte 1 is \uDC00, half of a surrogate pair`},
		{`"\ud800\ud83d\ude00"`, `is not valid Unicode: byte 1 is \ud800, half of a surrogate pair`},
		{`"\ud800x"`, `is not valid Unicode: byte 1 is \ud800, half of a surrogate pair`},
		{"{\"\":\"\x9d\"}", `is not valid UTF-8: byte 1 is 0x9d`},
		{`"\ud800\n"`, `is not valid Unicode: byte 1 is \ud800, half of a surrogate pair`},
	} {
		if got := JSON([]byte(c.in)); got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

// If JSON finds no flaw in a text, encoding/json reads it without inserting U+FFFD.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`["a"]`, `"\ud800"`, "\"\xe9\"", `"\ud83d\ude00"`, `{"a":"\\ud800"}`, `"\u`, `"\`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		flaw := JSON(raw)
		if !utf8.ValidString(flaw) {
			t.Errorf("%q", flaw)
		}
		var v any
		if json.Unmarshal(raw, &v) != nil {
			return
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		said := strings.Contains(string(raw), "\uFFFD") || strings.Contains(strings.ToLower(string(raw)), `\ufffd`)
		if replaced := strings.Contains(string(again), "\uFFFD"); !said && replaced && flaw == "" {
			t.Errorf("%q has become %q", raw, again)
		}
	})
}
