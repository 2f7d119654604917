package server

import (
	"strings"
	"testing"
)

func TestMatches(t *testing.T) {
	const etag = `"ab-7"`
	for _, c := range []struct {
		lines []string
		want  bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{etag}, true},
		{[]string{"W/" + etag}, true},
		{[]string{"*"}, true},
		{[]string{" * "}, true},
		{[]string{`"x"`, etag}, true},
		{[]string{`"x",` + etag}, true},
		{[]string{`"x" ,, W/"y" , W/` + etag}, true},
		{[]string{`"a,b", ` + etag}, true},
		{[]string{`"a,` + etag}, false},
		{[]string{`"x"`}, false},
		{[]string{`ab-7`}, false},
		{[]string{`w/` + etag}, false},
		{[]string{`"ab-7`}, false},
		{[]string{`"*"`}, false},
		{[]string{`"x", *`}, false},
		{[]string{`"AB-7"`}, false},
		{[]string{`junk, ` + etag}, false},
		{[]string{etag + "junk"}, true},
	} {
		if got := matches(c.lines, etag); got != c.want {
			t.Errorf("%q: %v", c.lines, got)
		}
	}
}

func FuzzMatches(f *testing.F) {
	for _, s := range []string{"", "*", `"a"`, `W/"a", "b,c"`, `"`, `W/`, ",,,"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		const etag = `"ab-7"`
		lines := []string{first, second}
		got := matches(lines, etag)
		if got && !strings.Contains(first+second, "*") && !strings.Contains(strings.Join(lines, ","), etag) {
			t.Errorf("%q matched %s", lines, etag)
		}
		if !matches(append([]string{etag}, lines...), etag) {
			t.Errorf("%s before %q did not match", etag, lines)
		}
	})
}
