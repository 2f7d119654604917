package progress

import (
	"bytes"
	"unicode/utf8"
)

// measures reports whether a percentage says how much of something there is, and not how far
// something has got. The word before it says so ("disk usage: 71%"), or the one behind ("71% used"),
// or all of its label only names a thing ("CPU 12%", but not "Formatting disk 12%").
func measures(line []byte, p percent) bool {
	label := bytes.TrimRight(line[:p.from], " \t:='\"-+.,>~")
	after, _ := nextWord(bytes.TrimLeft(line[p.to:], " \t'\""))
	if isMeasure(after) || isMeasure(lastWord(label)) {
		return true
	}
	for things := 0; ; {
		word, rest := nextWord(label)
		switch {
		case len(word) > 0 && !isThing(word) && !isMeasure(word):
			return false
		case len(word) > 0:
			things++
		case len(rest) == 0:
			return things > 0
		}
		if len(word) == 0 {
			rest = rest[1:] // a number, or what is between words
		}
		label = rest
	}
}

// nextWord reads the letters that text begins with.
func nextWord(text []byte) (word, rest []byte) {
	n := 0
	for n < len(text) && isLetter(text[n]) {
		n++
	}
	return text[:n], text[n:]
}

// lastWord returns the last word of text that says something, without a number behind it ("cpu0").
func lastWord(text []byte) []byte {
	for {
		text = bytes.TrimRight(text, "0123456789 ")
		from := len(text)
		for from > 0 && isLetter(text[from-1]) {
			from--
		}
		switch word := text[from:]; string(word) {
		case "at", "is", "now", "to": // "usage is at 71%"
			text = text[:from]
		default:
			return word
		}
	}
}

func isLetter(b byte) bool { return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= utf8.RuneSelf }

// isMeasure tells words that make the percentage beside them a measure.
func isMeasure(word []byte) bool {
	var room [longestName]byte
	switch string(lower(room[:0], word)) {
	case "usage", "used", "use", "util", "utilization", "utilisation", "capacity", "full", "free", "avail", "available",
		"idle", "busy", "iowait", "steal", "cached", "left", "remaining",
		"loss", "lost", "packet", "hit", "hits", "miss", "misses", "rate", "ratio", "jitter",
		"coverage", "covered", "accuracy", "precision", "recall", "confidence", "similarity", "identity", "score", "quality",
		"probability", "percentile", "quorum", "threshold", "limit",
		"tests", "passed", "passing", "failed", "failing", "success", "errors", "error",
		"deflated", "stored", "compressed", "saved", "savings", "smaller", "larger", "faster", "slower",
		"humidity", "charging", "discharging", "charged", "health", "wear", "brightness", "opacity", "zoom",
		"width", "height", "margin", "padding",
		"off", "discount", "tax", "vat", "interest", "growth", "increase", "decrease":
		return true
	}
	return false
}

// isThing tells names of what is measured. Work is done on some of them, too.
func isThing(word []byte) bool {
	var room [longestName]byte
	switch string(lower(room[:0], word)) {
	case "cpu", "gpu", "core", "load", "system", "user", "mem", "memory", "ram", "swap", "heap", "disk", "storage", "root", "home",
		"quota", "battery", "fan", "volume", "level", "tank", "size", "network", "cache":
		return true
	}
	return false
}

// longestName is how long the longest word of those above is.
const longestName = len("utilization")

// lower appends a word in lower case, if it is no longer than there is room.
func lower(to, word []byte) []byte {
	if len(word) > cap(to) {
		return to
	}
	for _, b := range word {
		if b >= 'A' && b <= 'Z' {
			b += 'a' - 'A'
		}
		to = append(to, b)
	}
	return to
}
