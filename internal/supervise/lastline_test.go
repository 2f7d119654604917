package supervise

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestLastLine(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"one line", "no space left\n", "no space left"},
		{"without its end", "first\nsecond", "second"},
		{"empty lines behind it", "why\n\n \t\n\r\n", "why"},
		{"spaces around it", "  \t why  \t\n", "why"},
		{"a tab within", "a\tb\n", "a b"},
		{"written over", "10%\r20%\r30%\r", "30%"},
		{"colours", "\x1b[1;31merror:\x1b[0m no\n", "error: no"},
		{"only colours behind it", "why\n\x1b[0m\n", "why"},
		{"a title", "\x1b]0;title\aerror\n", "error"},
		{"a link", "\x1b]8;;http://example.com\x1b\\error\x1b]8;;\x1b\\\n", "error"},
		{"a string without its end", "\x1b]0;title\nerror\n", "error"},
		{"a charset", "\x1b(Berror\n", "error"},
		{"a sequence within one", "\x1b[1\x1b[31mred\n", "red"},
		{"a string ended by another sequence", "\x1b]0;x\x1b[31mred\n", "red"},
		{"C1 controls", "\u009b31mred\u009d0;title\u009cder\u0085\n", "redder"},
		{"controls", "a\x00b\x07c\x7fd\n", "abcd"},
		{"text that turns around", "a\u202eb\u2066c\n", "abc"},
		{"not UTF-8", "a\xffb\xe2\x82c\n", "a\uFFFDb\uFFFD\uFFFDc"},
		{"cut within a code point", "a\xe2\x82", "a\uFFFD\uFFFD"},
		{"other scripts", "Fehler: größer als 10 €\n", "Fehler: größer als 10 €"},
		{"200", strings.Repeat("é", 200) + "\n", strings.Repeat("é", 200)},
		{"more", strings.Repeat("é", 201) + "\n", strings.Repeat("é", 200) + "…"},
		{"much more, and another", strings.Repeat("x", 1<<20) + "\r\nend\n", "end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, chunk := range []int{len(c.in), 1, 3} {
				var l lastLine
				writeIn(&l, []byte(c.in), max(chunk, 1))
				// What is pending counts at the end, as in copier.finish.
				l.flush()
				if got := l.String(); got != c.want {
					t.Errorf("in pieces of %d: got %q, want %q", chunk, got, c.want)
				}
			}
		})
	}
}

func writeIn(l *lastLine, p []byte, chunk int) {
	for len(p) > 0 {
		n := min(chunk, len(p))
		_, _ = l.Write(p[:n])
		p = p[n:]
	}
}

func TestLastLineMemoryIsBounded(t *testing.T) {
	for _, c := range []struct{ name, unit string }{
		{"text", "x"}, {"wide text", "€"}, {"escape", "\x1b]0;"}, {"invalid", "\xff"}, {"spaces", " "},
	} {
		t.Run(c.name, func(t *testing.T) {
			var l lastLine
			block := bytes.Repeat([]byte(c.unit), 1<<20/len(c.unit))
			megabytes := 1
			if c.name == "text" {
				megabytes = 1024 // as it is skipped, it can afford to be real
			}
			for range megabytes {
				_, _ = l.Write(block)
			}
			if cap(l.line) > 2*utf8.UTFMax*maxLine || len(l.last) > 0 {
				t.Errorf("keeps %d bytes of the line and %d of the last", cap(l.line), len(l.last))
			}
		})
	}
}

func FuzzLastLine(f *testing.F) {
	f.Add([]byte("\x1b[31mred\x1b[0m\r\nx\x1b]0;t\x07y\xe2\x82\xac\xff"), 2)
	f.Add([]byte("\u009b1m\u202e a \r b"), 1)
	f.Fuzz(func(t *testing.T, in []byte, chunk int) {
		var whole, pieces lastLine
		_, _ = whole.Write(in)
		writeIn(&pieces, in, max(chunk, 1))
		whole.flush()
		pieces.flush()
		got := whole.String()
		if got != pieces.String() {
			t.Errorf("whole %q, in pieces %q", got, pieces.String())
		}
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > maxLine+1 || got != strings.TrimSpace(got) {
			t.Errorf("not a clean line: %q", got)
		}
		if i := strings.IndexFunc(got, func(r rune) bool { return unicode.IsControl(r) || bidi(r) }); i >= 0 {
			t.Errorf("control character at %d of %q", i, got)
		}
	})
}
