package progress

import (
	"bytes"
	"slices"
)

const (
	// maxShapes is how many line shapes are remembered.
	maxShapes = 8
	// maxFalls is how often a shape may fall before it reaches nearEnd; after that it is no longer
	// taken for progress, as a load or a fill level goes up and down.
	maxFalls = 3
	nearEnd  = 90
)

// Thresholds for believing a frame, whose lines share nothing but the place of the percentage.
const (
	// frameGrowths is how often the percentage must have grown without a fall.
	frameGrowths = 3
	// frameSum is what the percentages must exceed when added up: shares of a whole, as in a list of
	// folders with their sizes, never do.
	frameSum = 100
	// A believed frame may fall back by up to late, and that means nothing, as lines of parallel processes
	// overtake each other.
	late = 5
)

// A Guess reads progress from a percentage ("42%") on lines of one shape, or in one frame. It believes
// a shape once its value has grown, unless the first growth is to 100%: so "100% packet loss" is not
// progress. It is for one goroutine.
type Guess struct {
	shapes   []*shape // the newest last
	frames   [frames]shape
	followed *shape
	words    []byte // of the current line
}

// A shape is the words of a line without its numbers. For a frame, words is empty.
type shape struct {
	words string
	last  float64 // in per cent
	grown bool    // the shape is believed
	falls int
	// Used for frames only:
	begun   bool
	growths int     // since the last fall
	sum     float64 // of the values since the last fall
}

// A Hint says what a line means to a Guess.
type Hint int

// Hints.
const (
	// NoHint: nothing.
	NoHint Hint = iota
	// Advanced: the progress is believed.
	Advanced
	// Restarted: what was believed fell back and begins anew, so the progress is unknown.
	Restarted
)

// Read reads a line. The percentage, 0 to 100, is valid with Advanced only.
func (g *Guess) Read(line []byte) (Hint, float64) {
	p, ok := percentage(line)
	if !ok {
		return NoHint, 0
	}
	if f := frameOf(line, p); f != noFrame {
		believed := g.frames[f].grown
		hint, percent := g.readFrame(&g.frames[f], line, &p)
		if believed || hint != NoHint {
			return hint, percent
		}
	}
	return g.readShape(line, &p)
}

// readShape reads a line by its shape.
func (g *Guess) readShape(line []byte, p *percent) (Hint, float64) {
	g.words = appendShape(appendShape(g.words[:0], line[:p.from]), line[p.to:])
	s := g.shape()
	if s == nil {
		g.remember(&shape{words: string(g.words), last: p.value})
		return NoHint, 0
	}
	last := s.last
	s.last = p.value
	switch {
	case p.value == last, p.measures(line):
		return NoHint, 0
	case p.value > last && s.falls < maxFalls:
		if !s.grown && p.value == 100 {
			return NoHint, 0 // straight to 100: a ratio, or too quick for a progress bar
		}
		s.grown = true
		return g.follow(s)
	case p.value < last:
		return g.fall(s, last), 0
	}
	return NoHint, 0
}

// readFrame reads a line by the place of its percentage.
func (g *Guess) readFrame(f *shape, line []byte, p *percent) (Hint, float64) {
	last, value := f.last, p.value
	if (!f.begun || value != last) && p.measures(line) {
		return NoHint, 0
	}
	if !f.begun {
		f.begun, last = true, value
	}
	if f.grown && value < last && last-value <= late {
		return NoHint, 0
	}
	f.last = value
	f.sum += value
	switch {
	case value < last:
		f.growths, f.sum = 0, value
		return g.fall(f, last), 0
	case value == last, f.falls >= maxFalls:
		return NoHint, 0
	}
	f.growths++
	f.grown = f.grown || f.growths >= frameGrowths && f.sum > frameSum
	if !f.grown {
		return NoHint, 0
	}
	return g.follow(f)
}

// follow makes s, which has grown, the shape that is believed.
func (g *Guess) follow(s *shape) (Hint, float64) {
	if old := g.followed; old != nil && old != s && s.last < old.last && old.last < nearEnd && old.falls < maxFalls {
		return NoHint, 0 // of two at once, the one further on counts
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

// shape returns the current line's shape and makes it the newest; nil if it is unknown.
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

// appendShape appends the words of part, without units and words that contain digits.
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

// joins says whether the byte at i is part of a word, as in "1.5", "0:07" and "it/s".
func joins(line []byte, i int) bool {
	return bytes.IndexByte([]byte(".,:/"), line[i]) >= 0 && i+1 < len(line) && isWord(line[i+1])
}

// isUnit says whether word is a unit of size or speed, which may change while the work goes on.
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
