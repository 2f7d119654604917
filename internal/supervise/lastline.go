package supervise

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLine is how much of a line is remembered, in code points.
const maxLine = 200

// A lastLine is written a stream of bytes and remembers the last line that has
// something on it. Its memory is bounded whatever the stream is. Escape sequences
// (ECMA-48) and control characters are left out, invalid UTF-8 is replaced; a
// carriage return ends a line, as the next would be written over it.
type lastLine struct {
	last  string
	line  []byte // of this line, at most maxLine code points and then an ellipsis
	runes int
	full  bool

	rest  [utf8.UTFMax]byte // a code point that is not complete yet
	nrest int
	state escape
}

// escape is where in an escape sequence a stream is.
type escape int

const (
	ground  escape = iota
	started        // after ESC
	control        // in a control sequence, which ends with a byte of 0x40 to 0x7E
	text           // in a control string (a title, a link), which ends with BEL or ESC \
	ending         // after ESC in a control string
)

func (l *lastLine) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if l.full && l.state == ground {
			// Nothing more of this line is wanted.
			l.nrest = 0
			if p = p[lineEnd(p):]; len(p) == 0 {
				break
			}
		}
		b := p[0]
		if b < utf8.RuneSelf {
			l.flush()
			l.rune(rune(b))
			p = p[1:]
			continue
		}
		if l.nrest > 0 && utf8.RuneStart(b) {
			l.flush()
		}
		l.rest[l.nrest] = b
		l.nrest++
		p = p[1:]
		if utf8.FullRune(l.rest[:l.nrest]) {
			l.flush()
		}
	}
	return n, nil
}

// lineEnd is where p's first line ends. IndexAny would be ten times slower.
func lineEnd(p []byte) int {
	end := len(p)
	for _, b := range []byte{'\n', '\r'} {
		if i := bytes.IndexByte(p[:end], b); i >= 0 {
			end = i
		}
	}
	return end
}

// flush takes the pending bytes as what they are, complete or not.
func (l *lastLine) flush() {
	for rest := l.rest[:l.nrest]; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		l.rune(r)
		rest = rest[size:]
	}
	l.nrest = 0
}

func (l *lastLine) rune(r rune) {
	if r == '\n' || r == '\r' {
		l.endLine()
		return
	}
	switch l.state {
	case ground:
		l.visible(r)
	case started:
		l.introduced(r)
	case control:
		if r >= 0x40 && r <= 0x7E {
			l.state = ground
		} else if r == 0x1B {
			l.state = started
		}
	case text:
		switch r {
		case '\a', 0x9C:
			l.state = ground
		case 0x1B:
			l.state = ending
		}
	case ending:
		if r == '\\' {
			l.state = ground
		} else {
			l.introduced(r)
		}
	}
}

// introduced takes the code point after an ESC.
func (l *lastLine) introduced(r rune) {
	switch {
	case r == '[':
		l.state = control
	case strings.ContainsRune("]PX^_", r):
		l.state = text
	case r == 0x1B, r >= 0x20 && r <= 0x2F:
		l.state = started
	default:
		l.state = ground
	}
}

func (l *lastLine) visible(r rune) {
	switch r {
	case 0x1B:
		l.state = started
		return
	case 0x9B:
		l.state = control
		return
	case 0x90, 0x98, 0x9D, 0x9E, 0x9F:
		l.state = text
		return
	}
	if unicode.IsSpace(r) {
		if l.runes == 0 {
			return
		}
		r = ' '
	}
	if l.full || unicode.IsControl(r) || bidi(r) {
		return
	}
	if l.runes == maxLine {
		l.full = true
		r = '…'
	}
	l.line = utf8.AppendRune(l.line, r)
	l.runes++
}

// bidi is true for what would turn the text around it: a terminal may show it as
// something else than it is.
func bidi(r rune) bool {
	return r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069
}

func (l *lastLine) endLine() {
	l.last = l.String()
	l.line, l.runes, l.full, l.state = l.line[:0], 0, false, ground
}

// String returns the last line so far, whether it has ended or not.
func (l *lastLine) String() string {
	if line := bytes.TrimRight(l.line, " "); len(line) > 0 {
		return string(line)
	}
	return l.last
}
