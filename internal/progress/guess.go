package progress

import (
	"bytes"
	"slices"
)

const (
	// maxShapes is how many shapes of lines are remembered.
	maxShapes = 8
	// maxFalls is how often a shape may fall back from the middle before it is not taken
	// for progress any more: a load or a fill level goes up and down.
	maxFalls = 3
	nearEnd  = 90
)

// A Guess reads progress from a percentage ("42%") on lines of one shape. It believes from
// the second growing value on, so that "100% packet loss" is none, unless that is 100%. It is for one goroutine.
type Guess struct {
	shapes   []*shape // the newest last
	followed *shape
	words    []byte // of the line that is read
}

// A shape is the words of a line without its numbers.
type shape struct {
	words string
	last  float64 // in per cent
	grown bool
	falls int
}

// A Hint is what a guess makes of a line.
type Hint int

// What a line can mean.
const (
	// NoHint: nothing.
	NoHint Hint = iota
	// Advanced: the progress is believed.
	Advanced
	// Restarted: what was believed has begun anew, so the progress is unknown.
	Restarted
)

// Read reads a line. The percentage, 0 to 100, is told with Advanced.
func (g *Guess) Read(line []byte) (Hint, float64) {
	if bytes.IndexByte(line, '%') < 0 {
		return NoHint, 0
	}
	percent, before, after, ok := percentage(line)
	if !ok {
		return NoHint, 0
	}
	g.words = appendShape(appendShape(g.words[:0], before), after)
	s := g.shape()
	if s == nil {
		g.remember(&shape{words: string(g.words), last: percent})
		return NoHint, 0
	}
	last := s.last
	s.last = percent
	switch {
	case percent > last && s.falls < maxFalls:
		if !s.grown && percent == 100 {
			return NoHint, 0 // from nothing to all at once: a ratio, or not worth a bar
		}
		s.grown = true
		return g.follow(s)
	case percent < last:
		return g.fall(s, last), 0
	}
	return NoHint, 0
}

// follow makes a shape that has grown the one that is believed.
func (g *Guess) follow(s *shape) (Hint, float64) {
	if old := g.followed; old != nil && old != s && s.last < old.last && old.last < nearEnd && old.falls < maxFalls {
		return NoHint, 0 // two at once: the one that is further counts
	}
	g.followed = s
	return Advanced, s.last
}

func (g *Guess) fall(s *shape, before float64) Hint {
	if before < nearEnd {
		s.falls++
	}
	wasBelieved := s.grown && g.followed == s
	s.grown = false
	if wasBelieved {
		g.followed = nil
		return Restarted
	}
	return NoHint
}

// shape finds the shape of the line that is read, and makes it the newest.
func (g *Guess) shape() *shape {
	i := slices.IndexFunc(g.shapes, func(s *shape) bool { return s.words == string(g.words) })
	if i < 0 {
		return nil
	}
	s := g.shapes[i]
	g.shapes = append(slices.Delete(g.shapes, i, i+1), s)
	return s
}

func (g *Guess) remember(s *shape) {
	if len(g.shapes) == maxShapes {
		g.shapes = slices.Delete(g.shapes, 0, 1)
	}
	g.shapes = append(g.shapes, s)
}

// percentage finds the first percentage of a line, and what stands before and after it.
func percentage(line []byte) (percent float64, before, after []byte, ok bool) {
	for at := 0; ; {
		i := bytes.IndexByte(line[at:], '%')
		if i < 0 {
			return 0, nil, nil, false
		}
		at += i + 1
		if value, from, ok := percentBefore(line, at-1); ok && (at == len(line) || !isWord(line[at])) {
			return value, line[:from], line[at:], true
		}
	}
}

// percentBefore reads the number, of 0 to 100, that stands before position end.
func percentBefore(line []byte, end int) (value float64, from int, ok bool) {
	if end > 0 && line[end-1] == ' ' {
		end--
	}
	from = end
	for from > 0 && (isDigit(line[from-1]) || line[from-1] == '.' || line[from-1] == ',') {
		from--
	}
	// "0.42%" is not a part of "1:0.42%", nor is "-3%" progress.
	if from == end || from > 0 && (isWord(line[from-1]) || bytes.IndexByte([]byte("-+:"), line[from-1]) >= 0) {
		return 0, 0, false
	}
	value, ok = decimal(line[from:end])
	return value, from, ok && value <= 100
}

// decimal reads digits, with one point or comma at most between them.
func decimal(text []byte) (value float64, ok bool) {
	const most = 20 // digits
	unit := 0.0
	for i, b := range text {
		switch {
		case isDigit(b) && unit == 0:
			value = 10*value + float64(b-'0')
		case isDigit(b):
			value += unit * float64(b-'0')
			unit /= 10
		case unit > 0 || i == 0 || i == len(text)-1:
			return 0, false
		default:
			unit = 0.1
		}
	}
	return value, len(text) <= most
}

// appendShape appends the words of a part of a line that have no digits in them, without units.
func appendShape(words, part []byte) []byte {
	for i := 0; i < len(part); {
		if !isWord(part[i]) {
			i++
			continue
		}
		start, digits := i, false
		for i < len(part) && (isWord(part[i]) || joins(part, i)) {
			digits = digits || isDigit(part[i])
			i++
		}
		if word := part[start:i]; !digits && !isUnit(word) {
			words = append(append(words, word...), ' ')
		}
	}
	return append(words, '|')
}

// joins says whether the byte at i is inside a word, as in "1.5", "0:07" and "it/s".
func joins(line []byte, i int) bool {
	return bytes.IndexByte([]byte(".,:/"), line[i]) >= 0 && i+1 < len(line) && isWord(line[i+1])
}

// isUnit tells units of size and speed, which change on the way.
func isUnit(word []byte) bool {
	word = bytes.TrimSuffix(word, []byte("/s"))
	if len(word) > 0 && bytes.IndexByte([]byte("kKMGTP"), word[0]) >= 0 {
		word = word[1:]
	}
	switch string(word) {
	case "", "B", "b", "iB", "ib", "bit", "bytes", "h", "m", "s", "ms", "d":
		return true
	}
	return false
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

func isWord(b byte) bool {
	return isDigit(b) || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '_' || b >= 0xC3 && b != 0xE2
}
