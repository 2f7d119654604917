package progress

import (
	"bytes"
	"strings"
)

const (
	// maxLine is how many bytes of a line are kept for a guess or a text; the rest is skipped.
	maxLine = 4096
	// maxMatched is the same for AllLines and AllLinesOnce: a user's pattern may match far into a line.
	maxMatched = 256 << 10
	// maxCommand is the longest operating system command (OSC) that is read.
	maxCommand = 32
)

// Coverage says which lines of a stream are emitted, and when.
type Coverage int

const (
	// SomeLines is for a guess: in a flood, only the lines at the end of each piece are emitted. An
	// unfinished line is emitted by Pause.
	SomeLines Coverage = iota
	// AllLines emits every line. An unfinished line is emitted by Pause, and again if it continues
	// after that.
	AllLines
	// AllLinesOnce is for counting: each line is emitted exactly once, when it has ended.
	AllLinesOnce
)

// A Scanner splits the output written to it into the lines that a reader would see. It removes escape
// sequences (ECMA-48) and control characters. A carriage return ends a line, as the next one overwrites
// it, and so does anything that moves the cursor. Memory use is bounded for any stream. The zero value
// is ready for use; it is for one goroutine.
type Scanner struct {
	// Line is called with each line that isn't blank, unless it is nil. The bytes are valid only
	// during the call and may not be valid UTF-8 (see Text).
	Line func(line []byte)
	// Terminal is called with each progress escape of a terminal, unless it is nil.
	Terminal func(TerminalProgress)
	// Coverage says which lines are emitted, and when.
	Coverage Coverage

	line    []byte
	emitted bool // the line was emitted before its end
	state   escape
	c2      bool // the last byte may be the first of a control character, U+0080 to U+009F
	command []byte
}

// escape is a position within an escape sequence.
type escape int

const (
	ground  escape = iota
	started        // after ESC
	charset        // after ESC and an intermediate byte
	control        // in a control sequence, which ends with a byte of 0x40 to 0x7E
	text           // in a control string other than a command, which ends with BEL or ST
	command        // in an operating system command, which ends with BEL or ST
	ending         // after an ESC in one of these two
)

const esc = 0x1B

// Write implements io.Writer. It never fails.
func (s *Scanner) Write(p []byte) (int, error) {
	n := len(p)
	if len(p) >= large && s.Coverage == SomeLines {
		p = s.skipFlood(p)
	}
	s.scan(p)
	return n, nil
}

// scan reads p byte by byte.
func (s *Scanner) scan(p []byte) {
	for i := 0; i < len(p); {
		if s.state == ground && !s.c2 {
			if plain := plainLength(p[i:]); plain > 0 {
				s.show(p[i : i+plain])
				i += plain
				continue
			}
			if p[i] < '\b' {
				i++ // has no meaning
				continue
			}
		}
		s.byte(p[i])
		i++
	}
}

// plainLength returns how many bytes at the start of p are plain text.
func plainLength(p []byte) int {
	for i, b := range p {
		if b < 0x20 || b == 0x7F || b == 0xC2 {
			return i
		}
	}
	return len(p)
}

// Pause emits the unfinished line. It is called when a stream has been quiet for a moment, so that this
// line is what a reader sees now.
func (s *Scanner) Pause() {
	if s.Pending() {
		s.emit()
		s.emitted = true
	}
}

// Pending reports whether Pause would emit a line.
func (s *Scanner) Pending() bool { return s.Coverage != AllLinesOnce && !s.emitted && len(s.line) > 0 }

// Flush ends the last line of a stream.
func (s *Scanner) Flush() {
	if s.c2 {
		s.c2 = false
		s.take(0xC2)
	}
	s.end()
}

func (s *Scanner) byte(b byte) {
	if s.c2 {
		s.c2 = false
		if b >= 0x80 && b <= 0x9F {
			s.c1(b)
			return
		}
		s.take(0xC2)
	}
	if b == 0xC2 {
		s.c2 = true
		return
	}
	s.take(b)
}

// c1 handles U+0080 to U+009F, which are short for ESC and a byte of 0x40 to 0x5F.
func (s *Scanner) c1(b byte) {
	switch {
	case s.state == text, s.state == command, s.state == ending:
		if b == 0x9C {
			s.endString()
		}
	default:
		s.introduced(b - 0x40)
	}
}

func (s *Scanner) take(b byte) {
	if b == '\n' || b == '\r' {
		s.state = ground // aborts the current sequence
		s.end()
		return
	}
	switch s.state {
	case ground:
		s.visible(b)
	case started:
		s.introduced(b)
	case charset:
		if b < 0x20 || b > 0x2F {
			s.state = ground
		}
	case control:
		switch {
		case b >= 0x40 && b <= 0x7E:
			s.state = ground
			s.controlled(b)
		case b == esc:
			s.state = started
		}
	case text, command:
		switch {
		case b == '\a':
			s.endString()
		case b == esc:
			s.state = ending
		case s.state == command && len(s.command) <= maxCommand:
			s.command = append(s.command, b)
		}
	case ending:
		if b == '\\' {
			s.endString()
		} else {
			s.command = s.command[:0]
			s.introduced(b)
		}
	}
}

func (s *Scanner) visible(b byte) {
	switch {
	case b == esc:
		s.state = started
	case b == '\b', b == '\v', b == '\f': // moves the cursor, as a carriage return does
		s.end()
	case b == '\t':
		s.show([]byte{' '})
	case b >= 0x20 && b != 0x7F:
		s.show([]byte{b})
	}
}

// introduced handles the byte after an ESC.
func (s *Scanner) introduced(b byte) {
	switch {
	case b == '[':
		s.state = control
	case b == ']':
		s.state = command
		s.command = s.command[:0]
	case b == 'P', b == 'X', b == '^', b == '_':
		s.state = text
		s.command = s.command[:0]
	case b == esc:
		s.state = started
	case b >= 0x20 && b <= 0x2F:
		s.state = charset
	default:
		s.state = ground
		if strings.IndexByte("78DEMc", b) >= 0 { // save, restore, index, next line, back, reset
			s.end()
		}
	}
}

// controlled handles the last byte of a control sequence. A sequence that moves the cursor or erases
// the screen ends the line.
func (s *Scanner) controlled(b byte) {
	if b >= 'A' && b <= 'J' && b != 'C' || b == 'd' || b == 'f' {
		s.end()
	}
}

func (s *Scanner) endString() {
	s.state = ground
	if p, ok := parseTerminal(s.command); ok && s.Terminal != nil {
		s.Terminal(p)
	}
	s.command = s.command[:0]
}

// show appends to the line.
func (s *Scanner) show(p []byte) {
	if room := s.longest() - len(s.line); len(p) > room {
		p = p[:room]
	}
	if len(p) > 0 {
		s.line = append(s.line, p...)
		s.emitted = false
	}
}

// longest returns how many bytes of a line are kept.
func (s *Scanner) longest() int {
	if s.Coverage == SomeLines {
		return maxLine
	}
	return maxMatched
}

// end ends the line.
func (s *Scanner) end() {
	if !s.emitted {
		s.emit()
	}
	s.line, s.emitted = s.line[:0], false
}

func (s *Scanner) emit() {
	if s.Line != nil && len(bytes.TrimSpace(s.line)) > 0 {
		s.Line(s.line)
	}
}
