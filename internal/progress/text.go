package progress

import (
	"strings"
	"unicode"
)

// Text prepares a command's text for people, who may read it on a terminal: valid UTF-8 on one line,
// without escape sequences, control characters and characters that change the text direction, trimmed,
// and cut to limit code points plus an ellipsis. Everything from a command that becomes a state goes
// through here.
func Text(said []byte, limit int) string {
	var lines []byte
	s := Scanner{Coverage: AllLinesOnce, Line: func(line []byte) { lines = append(append(lines, line...), ' ') }}
	_, _ = s.Write(said)
	s.Flush()
	text := strings.TrimSpace(strings.Map(plain, string(lines))) // U+FFFD replaces invalid UTF-8
	runes := 0
	for i := range text {
		if runes == limit {
			return strings.TrimRight(text[:i], " ") + "…"
		}
		runes++
	}
	return text
}

// plain returns the character to show for r, -1 for none.
func plain(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return ' '
	case unicode.IsControl(r), bidi(r):
		return -1
	}
	return r
}

// bidi says whether r changes the text direction: a terminal may then show something other than the
// text says.
func bidi(r rune) bool {
	return r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069
}
