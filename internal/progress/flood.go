package progress

import "bytes"

const (
	// sample is how many lines at the end of a large piece of output are looked at, and
	// large how many bytes make one large: of a flood nobody needs every line.
	sample = 16
	large  = 4096
)

// skipFlood reads what it must of a large piece, and returns the rest that is to be scanned: the
// last lines. Of those before, only progress escapes count.
func (s *Scanner) skipFlood(p []byte) []byte {
	from := lastLines(p)
	if from < 0 {
		return s.cutLine(p)
	}
	first := lineEnd(p)
	s.scan(p[:first])
	if first >= from {
		return p[first:]
	}
	s.scan(p[first : first+1]) // the line's end
	for skipped := p[first+1 : from]; ; {
		i := escapeIn(skipped)
		if i < 0 {
			return p[from:]
		}
		skipped = skipped[i:]
		n := min(len(skipped), len(progressEscape)+maxCommand)
		line := s.Line
		s.Line = nil
		s.scan(skipped[:n])
		s.Line = line
		s.state, s.c2, s.line = ground, false, s.line[:0]
		skipped = skipped[n:]
	}
}

// cutLine shortens a piece of one line that is too long to be looked at, and says nothing else.
func (s *Scanner) cutLine(p []byte) []byte {
	if s.state != ground || s.c2 || lineEnd(p) < len(p) || bytes.IndexByte(p, esc) >= 0 || bytes.IndexByte(p, 0xC2) >= 0 {
		return p
	}
	return p[:maxLine]
}

// progressEscape is how the escape of a TerminalProgress begins.
const progressEscape = "\x1b]9;4;"

// escapeIn finds the first progress escape.
func escapeIn(p []byte) int {
	i := bytes.Index(p, []byte(progressEscape))
	if j := bytes.Index(p, []byte("\u009d9;4;")); j >= 0 && (i < 0 || j < i) {
		return j
	}
	return i
}

// lastLines is where the last few lines of p begin, with the end of the one before; -1 if there
// is none near the end.
func lastLines(p []byte) int {
	const near = 8 << 10
	start := max(len(p)-near, 0)
	tail := bytes.TrimRight(p[start:], "\r\n \t")
	from, left := -1, sample
	for i := len(tail) - 1; i >= 0 && left > 0; i-- { // LastIndexByte knows one byte only
		if tail[i] == '\n' || tail[i] == '\r' {
			from, left = start+i, left-1
		}
	}
	return from
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
