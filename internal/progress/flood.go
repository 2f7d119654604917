package progress

import "bytes"

const (
	// sample is how many lines at the end of a large piece of output are read; large is the size in
	// bytes from which a piece counts as large. In a flood, nobody needs every line.
	sample = 16
	large  = 4096
)

// skipFlood reads what matters in a large piece, and returns the rest to be scanned: the last lines. Of
// the lines before those, only progress escapes count.
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
	s.scan(p[first : first+1]) // the end of the line
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

// cutLine shortens a piece that lies within one long line, where all beyond maxLine would be ignored.
func (s *Scanner) cutLine(p []byte) []byte {
	if s.state != ground || s.c2 || lineEnd(p) < len(p) || bytes.IndexByte(p, esc) >= 0 || bytes.IndexByte(p, 0xC2) >= 0 {
		return p
	}
	return p[:maxLine]
}

// progressEscape is the start of a TerminalProgress escape.
const progressEscape = "\x1b]9;4;"

// escapeIn returns the index of the first progress escape, -1 if there is none.
func escapeIn(p []byte) int {
	i := bytes.Index(p, []byte(progressEscape))
	if j := bytes.Index(p, []byte("\u009d9;4;")); j >= 0 && (i < 0 || j < i) {
		return j
	}
	return i
}

// lastLines returns where the last lines of p begin, including the line end before them; -1 if no line
// end is near the end of p.
func lastLines(p []byte) int {
	const near = 8 << 10
	start := max(len(p)-near, 0)
	tail := bytes.TrimRight(p[start:], "\r\n \t")
	from, left := -1, sample
	for i := len(tail) - 1; i >= 0 && left > 0; i-- { // LastIndexByte searches for one byte only
		if tail[i] == '\n' || tail[i] == '\r' {
			from, left = start+i, left-1
		}
	}
	return from
}

// lineEnd returns the index of the first line end in p, or len(p). IndexAny would be ten times slower.
func lineEnd(p []byte) int {
	end := len(p)
	for _, b := range []byte{'\n', '\r'} {
		if i := bytes.IndexByte(p[:end], b); i >= 0 {
			end = i
		}
	}
	return end
}
