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
	percent, words, ok := percentage(line)
	if !ok {
		return NoHint, 0
	}
	s := g.shape(words)
	if s == nil {
		g.remember(&shape{words: words, last: percent})
		return NoHint, 0
	}
	before := s.last
	s.last = percent
	switch {
	case percent > before && s.falls < maxFalls:
		if !s.grown && percent == 100 {
			return NoHint, 0 // from nothing to all at once: a ratio, or not worth a bar
		}
		s.grown = true
		return g.follow(s)
	case percent < before:
		return g.fall(s, before), 0
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

// shape finds a shape, and makes it the newest.
func (g *Guess) shape(words string) *shape {
	i := slices.IndexFunc(g.shapes, func(s *shape) bool { return s.words == words })
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

// percentage finds the first percentage of a line, and its shape.
func percentage(line []byte) (percent float64, words string, ok bool) {
	for at := 0; ; {
		i := bytes.IndexByte(line[at:], '%')
		if i < 0 {
			return 0, "", false
		}
		at += i + 1
		if value, from, ok := percentBefore(line, at-1); ok && (at == len(line) || !isWord(line[at])) {
			return value, shapeOf(line[:from], line[at:]), true
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
	if from == end || !isDigit(line[from]) || from > 0 && (isWord(line[from-1]) || bytes.IndexByte([]byte("-+:"), line[from-1]) >= 0) {
		return 0, 0, false
	}
	value, ok = number(bytes.ReplaceAll(line[from:end], []byte{','}, []byte{'.'}))
	return value, from, ok && value <= 100
}

// shapeOf returns the words of a line that have no digits in them, without units.
func shapeOf(parts ...[]byte) string {
	var words []byte
	for _, part := range parts {
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
		words = append(words, '|')
	}
	return string(words)
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
