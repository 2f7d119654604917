package progress

import (
	"bytes"
	"unicode/utf8"
)

// wideSign is the full-width percent sign.
const wideSign = "\uFF05"

// hasPercent reports whether a line contains a percent sign.
func hasPercent(line []byte) bool {
	return bytes.IndexByte(line, '%') >= 0 || bytes.IndexByte(line, wideSign[0]) >= 0 && bytes.Contains(line, []byte(wideSign))
}

// A percent is a percentage on a line: where it begins and ends, sign included, and its value, 0 to
// 100.
type percent struct {
	from, to int
	value    float64
	// measure is valid once looked is true; see measures.
	measure, looked bool
}

// percentage finds the first percentage on a line.
func percentage(line []byte) (p percent, ok bool) {
	for at := 0; ; {
		sign, size := nextSign(line, at)
		if size == 0 {
			return p, false
		}
		at = sign + size
		if p, ok = percentBefore(line, sign, size); !ok {
			p, ok = percentAfter(line, sign, size)
		}
		if ok {
			return p, true
		}
	}
}

// nextSign finds the next percent sign at or after a position; size is 0 if there is none.
func nextSign(line []byte, at int) (sign, size int) {
	sign, size = bytes.IndexByte(line[at:], '%'), 1
	if bytes.IndexByte(line, wideSign[0]) >= 0 {
		if wide := bytes.Index(line[at:], []byte(wideSign)); wide >= 0 && (sign < 0 || wide < sign) {
			sign, size = wide, len(wideSign)
		}
	}
	if sign < 0 {
		return 0, 0
	}
	return at + sign, size
}

// percentBefore reads the number before a sign: "42%", "42.5 %".
func percentBefore(line []byte, sign, size int) (p percent, ok bool) {
	end, to := spaceBefore(line, sign), sign+size
	from := digitsBefore(line, end)
	if mark := markBefore(line[:from]); from < end && mark > 0 {
		if whole := digitsBefore(line, from-mark); whole < from-mark {
			from = whole
		}
	}
	if from == end || !mayPrecede(line[:from]) || !mayFollow(line[to:]) {
		return p, false
	}
	if whole, ok := ofHundred(line, from, end); ok {
		end, from = from-1, whole
	}
	value, ok := percentOf(line[from:end])
	return percent{from: from, to: to, value: value}, ok && value <= 100
}

// ofHundred recognises "42.00/100%", and returns where it begins. The 100 begins at from.
func ofHundred(line []byte, from, end int) (whole int, ok bool) {
	if string(line[from:end]) != "100" || byteBefore(line, from) != '/' {
		return 0, false
	}
	whole = from - 1
	for whole > 0 && (isDigit(line[whole-1]) || isMark(line[whole-1])) {
		whole--
	}
	return whole, whole < from-1 && mayPrecede(line[:whole])
}

// percentAfter reads the number after a sign, as in Turkish and Basque: "%42". Formats and addresses
// look similar, so it must stand alone.
func percentAfter(line []byte, sign, size int) (p percent, ok bool) {
	from := sign + size
	to := from
	for marks := 0; to < len(line); to++ {
		if isDigit(line[to]) {
			continue
		}
		if marks > 0 || to == from || !isMark(line[to]) || to+1 == len(line) || !isDigit(line[to+1]) {
			break
		}
		marks++
	}
	before := spaceBefore(line, sign) < sign || sign == 0 || bytes.IndexByte([]byte("([:>|"), line[sign-1]) >= 0 && mayPrecede(line[:sign])
	if to == from || line[from] == '0' && to-from > 1 && isDigit(line[from+1]) || !before {
		return p, false
	}
	if to < len(line) && bytes.IndexByte([]byte(" )].,;:!|'\xC2\xE2"), line[to]) < 0 {
		return p, false
	}
	value, ok := percentOf(line[from:to])
	return percent{from: sign, to: to, value: value}, ok && value <= 100
}

// mayPrecede reports whether a number after this text stands by itself: "0.42%" in "1:0.42%" doesn't,
// and "-3%" is not progress. A row of dots or hyphens may lead up to a number.
func mayPrecede(before []byte) bool {
	if len(before) == 0 {
		return true
	}
	if n := markBefore(before); n > 1 {
		return digitBefore(before[:len(before)-n]) == 0
	}
	b := before[len(before)-1]
	switch b {
	case ',', '%':
		return false
	case ':':
		return digitBefore(before[:len(before)-1]) == 0
	case '.', '-', '+':
		rest := bytes.TrimRight(before, string(rune(b)))
		run := len(before) - len(rest)
		return run > 2 || run == 2 && digitBefore(rest) == 0
	}
	return !isWord(b) && !bytes.HasSuffix(before, []byte(wideSign))
}

// mayFollow reports whether a percentage may be followed by this text. It may not be a letter ("%20b"),
// except in scripts that put no spaces between words.
func mayFollow(after []byte) bool {
	if len(after) == 0 {
		return true
	}
	const kana = 0xE3 // first UTF-8 byte of those scripts, from kana on
	return after[0] != '%' && (!isWord(after[0]) || after[0] >= kana) && !bytes.HasPrefix(after, []byte(wideSign))
}

// spaceBefore returns where the space begins that ends at the position at; if there is none, it returns at.
func spaceBefore(line []byte, at int) int {
	if byteBefore(line, at) == ' ' {
		return at - 1
	}
	if at > 0 && line[at-1] >= utf8.RuneSelf {
		for _, space := range []string{"\u00A0", "\u202F", "\u2009"} { // no-break and thin spaces
			if bytes.HasSuffix(line[:at], []byte(space)) {
				return at - len(space)
			}
		}
	}
	return at
}

// digitBefore returns the size in bytes of the digit at the end of text, 0 if there is none.
func digitBefore(text []byte) int {
	const wide = len("\uFF10")
	switch n := len(text); {
	case n > 0 && isDigit(text[n-1]):
		return 1
	case n >= wide && text[n-3] == 0xEF && text[n-2] == 0xBC && text[n-1] >= 0x90 && text[n-1] <= 0x99: // U+FF10 to U+FF19
		return wide
	}
	return 0
}

// digitsBefore returns where the digits before a position begin.
func digitsBefore(line []byte, at int) int {
	for {
		n := digitBefore(line[:at])
		if n == 0 {
			return at
		}
		at -= n
	}
}

// markBefore returns the size in bytes of the point or comma at the end of text, 0 if there is none.
func markBefore(text []byte) int {
	switch n := len(text); {
	case n > 0 && isMark(text[n-1]):
		return 1
	case bytes.HasSuffix(text, []byte("\uFF0E")), bytes.HasSuffix(text, []byte("\uFF0C")):
		return len("\uFF0E")
	}
	return 0
}

// byteBefore returns the byte before a position, 0 at the start of the line.
func byteBefore(line []byte, at int) byte {
	if at == 0 {
		return 0
	}
	return line[at-1]
}
