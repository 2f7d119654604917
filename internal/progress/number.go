package progress

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf8"
)

// A numeral is a number written as in any of several languages: "1,234.5", "1.234,5", "1 234,5" and
// "1'234.5" are the same. It is read in two steps, because what a comma or point means may depend on
// another number.
//
//  1. Spaces, apostrophes and underscores group digits.
//  2. If there are both commas and points, the last is the decimal mark and the others group digits.
//  3. A mark that occurs more than once groups digits.
//  4. A single mark is the decimal mark if the digits after it aren't exactly three, or if what
//     precedes it can't be a group: 0, nothing, or more than three digits.
//  5. "1,234" and "1.234" remain:
//     In a percentage, the mark is the decimal mark, because more than 100 makes no sense.
//     In done and total, the number that is not ambiguous decides for the other. If both are ambiguous,
//     the mark groups digits, because a program that counts in fractions shows them in both numbers.
//     With --total, a point is the decimal mark. A comma groups digits, unless done would then exceed the
//     total.
type numeral struct {
	text  [48]byte // digits, sign and marks only
	size  int
	more  bool // the text had other characters than digits
	style style
	mark  byte // the only mark, if the style is unknown
}

// style says what the marks of a numeral mean.
type style int

const (
	anyStyle   style = iota // no marks, or one that may be either
	pointStyle              // 1,234.5
	commaStyle              // 1.234,5
)

// parseNumeral does the first step; ok is false if text is not a number.
func parseNumeral(text []byte) (n numeral, ok bool) {
	for len(text) > 0 {
		b, size := text[0], 1
		if !isDigit(b) {
			b, size = plainDigit(text)
			n.more = true
		}
		text = text[size:]
		if b == 0 {
			continue
		}
		if n.size == len(n.text) {
			return n, false
		}
		n.text[n.size] = b
		n.size++
	}
	if !n.more {
		return n, n.size > 0
	}
	for n.size > 0 && isMark(n.text[n.size-1]) { // "at 42, then"
		n.size--
	}
	n.findStyle()
	return n, n.size > 0
}

// plainDigit returns the first character of text in ASCII, and its size; 0 is one to ignore.
func plainDigit(text []byte) (b byte, size int) {
	if text[0] < utf8.RuneSelf {
		if bytes.IndexByte([]byte(" \t'_%"), text[0]) >= 0 {
			return 0, 1
		}
		return text[0], 1
	}
	switch r, size := utf8.DecodeRune(text); {
	case r >= '\uFF01' && r <= '\uFF5E': // full-width forms of ASCII
		b, _ = plainDigit([]byte{byte(r - '\uFF01' + '!')})
		return b, size
	case r == '\u00A0', r == '\u202F', r == '\u2009', r == '\u2019', r == '\u02BC': // no-break and thin spaces, apostrophes
		return 0, size
	default:
		return '?', size // not part of a number
	}
}

func isMark(b byte) bool { return b == ',' || b == '.' }

// findStyle sets the style if the numeral alone decides it.
func (n *numeral) findStyle() {
	text := n.text[:n.size]
	last := max(bytes.LastIndexByte(text, ','), bytes.LastIndexByte(text, '.'))
	if last < 0 {
		return
	}
	mark, other := text[last], byte('.'+','-text[last])
	head := bytes.TrimLeft(text[:last], "+-")
	switch {
	case bytes.IndexByte(text, other) >= 0:
		n.style = decimalBy(mark)
	case bytes.IndexByte(head, mark) >= 0:
		n.style = decimalBy(other)
	case len(text)-last-1 != 3, len(head) == 0, len(head) > 3, head[0] == '0':
		n.style = decimalBy(mark)
	default:
		n.mark = mark
	}
}

func decimalBy(mark byte) style {
	if mark == ',' {
		return commaStyle
	}
	return pointStyle
}

// value does the second step; s is the style to use if the numeral alone doesn't decide.
func (n *numeral) value(s style) (float64, bool) {
	const exact = 15 // digits that a float64 holds
	if !n.more && n.size <= exact {
		v := 0.0
		for _, b := range n.text[:n.size] {
			v = 10*v + float64(b-'0')
		}
		return v, true
	}
	if n.style != anyStyle {
		s = n.style
	}
	decimal := byte('.')
	if s == commaStyle {
		decimal = ','
	}
	var room [len(n.text)]byte
	clean, digits, grouped := room[:0], 0, false // digits since the last mark
	for _, b := range n.text[:n.size] {
		switch {
		case b == decimal:
			if grouped && digits != 3 {
				return 0, false
			}
			clean, digits, grouped, decimal = append(clean, '.'), 0, false, 0
		case isMark(b):
			// In Indian languages all groups but the last have two digits.
			if decimal == 0 || digits == 0 || digits > 3 || grouped && digits < 2 {
				return 0, false
			}
			digits, grouped = 0, true
		case b == '+' || b == '-' || b == 'e' || b == 'E':
			clean = append(clean, b)
		case !isDigit(b):
			return 0, false
		default:
			clean, digits = append(clean, b), digits+1
		}
	}
	if grouped && digits != 3 {
		return 0, false
	}
	v, err := strconv.ParseFloat(string(clean), 64)
	return v, err == nil && !math.IsInf(v, 0)
}

// percentOf reads the number of a percentage.
func percentOf(text []byte) (float64, bool) {
	n, ok := parseNumeral(text)
	if !ok {
		return 0, false
	}
	return n.value(decimalBy(n.mark))
}

// hundredth converts 0 to 100 into 0 to 1. A plain division would turn 99.99 into 0.9998999999999999.
func hundredth(percent float64) float64 {
	const fine = 1e10 // 99.99 * fine is a whole number, so the dividend is exact
	return math.Round(percent*fine) / (100 * fine)
}

// shareOf reads done and total, and returns done/total.
func shareOf(done, total []byte) (float64, bool) {
	d, ok := parseNumeral(done)
	t, okTotal := parseNumeral(total)
	if !ok || !okTotal {
		return 0, false
	}
	a, ok := d.value(t.styleOr(grouping(d.mark)))
	b, okTotal := t.value(d.styleOr(grouping(t.mark)))
	return a / b, ok && okTotal && b > 0
}

func (n *numeral) styleOr(s style) style {
	if n.style != anyStyle {
		return n.style
	}
	return s
}

// grouping returns the style in which a mark groups digits.
func grouping(mark byte) style {
	if mark == '.' {
		return commaStyle
	}
	return pointStyle
}

// shareOfTotal reads done, and returns done/total.
func shareOfTotal(done []byte, total float64) (float64, bool) {
	d, ok := parseNumeral(done)
	if !ok {
		return 0, false
	}
	v, ok := d.value(pointStyle)
	if d.mark == ',' && v > total {
		v, ok = d.value(commaStyle)
	}
	return v / total, ok && total > 0
}
