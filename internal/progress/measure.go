package progress

import (
	"bytes"
	"unicode/utf8"
)

// measures reports whether a percentage is a measure of something, and not progress. The text beside it
// decides: words ("disk usage: 71%", "71% used", "CPU 12%"), a table row, or a calculation ("1000 =>
// 710 71%"). It is called last, as it takes longer than everything else.
func (p *percent) measures(line []byte) bool {
	if !p.looked {
		before, after := line[:p.from], bytes.TrimLeft(line[p.to:], " \t")
		p.looked = true
		p.measure = measuredBefore(before) || measuredBehind(after) || isRow(before, after) || isRatio(before, after) || isPercentile(before, after, p.value)
	}
	return p.measure
}

// measuredBefore reports whether the words before a percentage make it a measure, not progress:
//   - the last one is a measure word ("usage: 71%"), or
//   - a measure word is followed by what it applies to ("usage of the disk: 71%"), or
//   - the last one is a compound name that contains a measure word ("used_memory_peak_perc:71%"), or
//   - all of them only name a thing ("CPU 12%", but not "Formatting disk 12%").
func measuredBefore(label []byte) bool {
	const most = 100 // bytes, to bound the time for a long line
	label = bytes.TrimRight(label, " \t:='\"-+.,>~/(|")
	whole := len(label) <= most
	label = label[max(len(label)-most, 0):]
	within := len(label) // start of the last word if that is a compound name
	if name := label[bytes.LastIndexByte(label, ' ')+1:]; bytes.IndexByte(name, '_') >= 0 {
		within -= len(name)
	}
	var last, amount bool // what the previous word was
	things := 0
	for at := 0; at < len(label); {
		word := nextWord(label[at:])
		if len(word) == 0 {
			// A number or a separator: "cpu0", "hits: 5 / 7".
			last = last && bytes.IndexByte([]byte("0123456789 \t/.,:(_=-'\""), label[at]) >= 0
			at++
			continue
		}
		kind := kindOf(word)
		switch measure := kind&measureWord != 0; {
		case amount && isOf(word), measure && at >= within:
			return true
		case measure, kind&thingWord != 0:
			things++
		case !isUnit(word):
			whole = false
		}
		if !isFiller(word) {
			last = kind&measureWord != 0
		}
		amount = kind&amountWord != 0
		at += len(word)
	}
	return last || whole && things > 0
}

// measuredBehind reads the word after a percentage.
func measuredBehind(after []byte) bool {
	word := nextWord(bytes.TrimLeft(after, " \t'\"),;]"))
	return len(word) > 0 && kindOf(word)&(measureWord|behindWord) != 0
}

// isRow recognises table rows of df (file systems), coverage.py (files) and go tool cover (functions).
func isRow(before, after []byte) bool {
	if len(after) > 0 && after[0] == '/' {
		for range 3 { // size, used, available
			var field []byte
			if before, field = lastField(before); len(field) == 0 || !isDigit(field[0]) {
				return false
			}
		}
		return true
	}
	if len(after) > 0 {
		return false
	}
	numbers := 0
	for {
		rest, field := lastField(before)
		switch {
		case len(field) == 0:
			return false
		case len(bytes.TrimRight(field, "0123456789")) == 0:
			numbers++
		default:
			name := len(bytes.TrimSpace(rest)) == 0 && bytes.IndexByte(field, '.') >= 0
			_, first := lastField(rest)
			return name && numbers >= 2 || numbers == 0 && bytes.HasSuffix(first, []byte(":")) && bytes.Contains(first, []byte(".go:"))
		}
		before = rest
	}
}

// isRatio recognises comparisons of two numbers: compression, a distribution, a limit, a renamed file.
func isRatio(before, after []byte) bool {
	switch {
	case len(after) == 0:
	case bytes.HasPrefix(after, []byte("-- ")), bytes.HasPrefix(after, []byte("<=")): // gzip, redis-benchmark
		return true
	case after[0] == '=': // svgo: "12 KiB - 71% = 3.5 KiB"
		if digits := bytes.TrimLeft(after[1:], " "); len(digits) < len(after)-1 && len(digits) > 0 && isDigit(digits[0]) {
			return true
		}
	case after[0] == '/': // of a limit: "71%/80%"
		return len(after) > 1 && isDigit(after[1]) && !bytes.HasPrefix(after, []byte("/100"))
	case after[0] == '(': // zstd: "71.00%   (  1000 =>    710, x.zst)"
		if end := bytes.IndexByte(after, ')'); end > 0 && bytes.Contains(after[:end], []byte("=>")) {
			return true
		}
	case isDigit(after[0]): // nvidia-smi: "30%   45C"
		if rest := bytes.TrimLeft(after, "0123456789"); bytes.HasPrefix(rest, []byte("C ")) {
			return true
		}
	}
	rest, field := lastField(before)
	if isArrow(field) { // "1000 bytes into 710 bytes ==> 71%"
		return len(rest) > 0
	}
	if len(field) > 0 && isDigit(field[0]) { // upx: "1000 ->   710   71.00%"
		if rest, field = lastField(rest); isArrow(field) {
			return len(rest) > 0
		}
	}
	return bytes.HasSuffix(before, []byte("(")) &&
		(bytes.HasPrefix(before, []byte(" rename ")) || bytes.HasPrefix(before, []byte(" copy ")) || bytes.HasPrefix(before, []byte(" rewrite "))) // git
}

// isArrow tells arrows from progress bars, which are longer or begin with a bracket.
func isArrow(field []byte) bool {
	switch string(field) {
	case "->", "=>", "-->", "==>":
		return true
	}
	return false
}

// isPercentile recognises the latency summaries of load generators: "50%  1.23ms". Progress that looks
// the same has other values, too.
func isPercentile(before, after []byte, value float64) bool {
	switch value {
	case 10, 25, 50, 66, 75, 80, 90, 95, 98, 99, 99.9, 99.99, 99.999, 100:
	default:
		return false
	}
	after = bytes.TrimRight(after, " ")
	if in, ok := bytes.CutPrefix(after, []byte("in ")); ok {
		after = bytes.TrimSuffix(in, []byte(" secs"))
	}
	return len(bytes.TrimSpace(before)) == 0 && len(after) > 0 && isDigit(after[0]) && bytes.IndexByte(after, ' ') < 0
}

// lastField splits off the text after the last space.
func lastField(text []byte) (rest, field []byte) {
	text = bytes.TrimRight(text, " \t")
	at := bytes.LastIndexByte(text, ' ')
	at = max(at, bytes.LastIndexByte(text[at+1:], '\t')+at+1) + 1
	return text[:at], text[at:]
}

// nextWord returns the letters at the start of text.
func nextWord(text []byte) []byte {
	n := 0
	for n < len(text) && isLetter(text[n]) {
		n++
	}
	return text[:n]
}

func isLetter(b byte) bool { return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= utf8.RuneSelf }

// A wordKind says what a word beside a percentage means; kinds may be combined.
type wordKind int

const (
	measureWord wordKind = 1 << iota // marks the percentage beside it as a measure
	behindWord                       // marks the percentage before it as a measure
	amountWord                       // marks the percentage after it as a measure if a word like "of" follows
	thingWord                        // names something that can be measured, or that work is done on
)

func kindOf(word []byte) wordKind {
	var room [longestName]byte
	switch string(lower(room[:0], word)) {
	case "usage", "used", "utilization", "utilisation", "capacity", "rate", "ratio", "loss", "coverage", "chance":
		return measureWord | amountWord
	case "use", "util", "full", "free", "avail", "available", "spare",
		"idle", "busy", "iowait", "steal", "cached", "left", "remaining", "duty",
		"lost", "hit", "hits", "miss", "misses", "hitrate", "jitter",
		"covered", "executed", "once", "accuracy", "precision", "recall", "confidence", "similarity", "dissimilarity", "identity", "score", "quality",
		"probability", "percentile", "quorum", "threshold", "limit",
		"passed", "passing", "failed", "failing", "success",
		"deflated", "stored", "compressed", "saved", "savings", "smaller", "larger", "faster", "slower", "reduction",
		"contiguous", "fragmented", "fragmentation",
		"humidity", "cover", "charging", "discharging", "charged", "health", "wear", "brightness", "opacity", "zoom",
		"width", "height", "margin", "padding",
		"off", "discount", "tax", "vat", "interest", "growth", "increase", "decrease":
		return measureWord
	case "tests", "errors", "error", "packet", "packets", "non", "inode", "optimized":
		return behindWord
	case "cpu", "gpu", "mem", "ram":
		return behindWord | thingWord
	case "level":
		return amountWord | thingWord
	case "core", "load", "system", "user", "usr", "sys", "memory", "swap", "heap", "disk", "storage", "root", "home",
		"quota", "battery", "fan", "volume", "tank", "size", "network", "cache",
		"statements", "branches", "functions", "lines":
		return thingWord
	}
	return 0
}

// isOf says whether word connects an amount with what it is an amount of.
func isOf(word []byte) bool {
	switch string(word) {
	case "of", "on", "for", "in":
		return true
	}
	return false
}

// isFiller says whether word means nothing by itself: "usage is at 71%".
func isFiller(word []byte) bool {
	switch string(word) {
	case "at", "is", "now", "to", "of", "index", "perc", "pct", "percent":
		return true
	}
	return false
}

// longestName is the length of the longest word above.
const longestName = len("fragmentation")

// lower appends word in lower case, or nothing if it exceeds the capacity of to.
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
