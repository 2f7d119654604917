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

// What it takes to believe a frame, whose lines have nothing in common but where the percentage is.
const (
	// frameGrowths is how often it must have grown, without a fall.
	frameGrowths = 3
	// frameSum is what all its percentages must add up to more than: the shares of one whole, as in a
	// list of folders with what is in each, never do.
	frameSum = 100
	// late is how far a line of a frame that is believed may be behind without a meaning: those of
	// processes side by side overtake each other.
	late = 5
)

// A Guess reads progress from a percentage ("42%") on lines of one shape, or in one frame. It
// believes a shape from the second growing value on, so that "100% packet loss" is none, unless that
// is 100%. It is for one goroutine.
type Guess struct {
	shapes   []*shape // the newest last
	frames   [frames]shape
	followed *shape
	words    []byte // of the line that is read
}

// A shape is the words of a line without its numbers; a frame has none.
type shape struct {
	words string
	last  float64 // in per cent
	grown bool    // it is believed
	falls int
	// Of a frame:
	begun   bool
	growths int     // since it last fell
	sum     float64 // the same
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

// readShape reads a line by its words.
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
			return NoHint, 0 // from nothing to all at once: a ratio, or not worth a bar
		}
		s.grown = true
		return g.follow(s)
	case p.value < last:
		return g.fall(s, last), 0
	}
	return NoHint, 0
}

// readFrame reads a line by where on it the percentage is.
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
