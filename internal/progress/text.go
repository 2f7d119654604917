package progress

import (
	"strings"
	"unicode"
)

// Text makes what a command said fit for people, who may read it on their terminals: valid
// UTF-8 without escape sequences, control characters and what turns the text around it, on one
// line, no spaces at its ends, at most limit code points and then an ellipsis. All that comes
// from a command into a state goes through here.
func Text(said []byte, limit int) string {
	var lines []byte
	s := Scanner{Coverage: AllLinesOnce, Line: func(line []byte) { lines = append(append(lines, line...), ' ') }}
	_, _ = s.Write(said)
	s.Flush()
	text := strings.TrimSpace(strings.Map(plain, string(lines))) // U+FFFD for what is not valid
	runes := 0
	for i := range text {
		if runes == limit {
			return strings.TrimRight(text[:i], " ") + "…"
		}
		runes++
	}
	return text
}

// plain is what is shown for r, -1 for nothing.
func plain(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return ' '
	case unicode.IsControl(r), bidi(r):
		return -1
	}
	return r
}

// bidi is true for what would turn the text around it: a terminal may show it as something
// else than it is.
func bidi(r rune) bool {
	return r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069
}
