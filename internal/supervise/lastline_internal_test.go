package supervise

import (
	"slices"
	"strings"
	"testing"

	"github.com/kettubot/kapi/internal/progress"
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
				scanner := progress.Scanner{Line: l.note}
				for p := range slices.Chunk([]byte(c.in), max(chunk, 1)) {
					_, _ = scanner.Write(p)
				}
				scanner.Flush() // an unfinished line counts at the end
				if got := l.String(); got != c.want {
					t.Errorf("in pieces of %d: got %q, want %q", chunk, got, c.want)
				}
			}
		})
	}
}
