package progress

import (
	"bytes"
	"unicode/utf8"
)

// measures reports whether a percentage says how much of something there is, and not how far
// something has got. What is beside it tells: words ("disk usage: 71%", "71% used", "CPU 12%"), a row
// of a table, or a sum ("1000 => 710 71%").
func measures(line []byte, p percent) bool {
	before, after := line[:p.from], bytes.TrimLeft(line[p.to:], " \t")
	return measuredBefore(before) || measuredBehind(after) || isRow(before, after) || isRatio(before, after) || isPercentile(before, after, p.value)
}

// measuredBefore reads the words before a percentage. The last one may say that it is a measure, or one
// that is followed by of what ("usage of the disk: 71%"), or one within the last name
// ("used_memory_peak_perc:71%"); or all of them only name a thing ("CPU 12%", but not "Formatting disk
// 12%").
func measuredBefore(label []byte) bool {
	const most = 100 // bytes, so that a long line takes no longer
	label = bytes.TrimRight(label, " \t:='\"-+.,>~/(|")
	whole := len(label) <= most
	label = label[max(len(label)-most, 0):]
	if isMeasure(lastWord(label)) {
		return true
	}
	joined := label[bytes.LastIndexByte(label, ' ')+1:]
	within := len(label) // from where on words are parts of one name
	if bytes.IndexByte(joined, '_') >= 0 {
		within = len(label) - len(joined)
	}
	things, amount := 0, false
	for at := 0; at < len(label); {
		word, _ := nextWord(label[at:])
		if len(word) == 0 {
			at++ // a number, or what is between words
			continue
		}
		switch measure := isMeasure(word); {
		case amount && isOf(word), measure && at >= within:
			return true
		case measure, isThing(word):
			things++
		case !isUnit(word):
			whole = false
		}
		amount = isAmount(word)
		at += len(word)
	}
	return whole && things > 0
}

// measuredBehind reads the word behind a percentage.
func measuredBehind(after []byte) bool {
	word, _ := nextWord(bytes.TrimLeft(after, " \t'\"),;]"))
	var room [longestName]byte
	switch string(lower(room[:0], word)) {
	case "tests", "errors", "error", "packet", "packets", "non", "inode", "optimized", "cpu", "gpu", "ram", "mem":
		return true
	}
	return isMeasure(word)
}

// isRow tells rows of tables: a file system's of df, a file's of coverage.py, a function's of Go's cover.
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

// isRatio tells what compared two numbers: compression, a distribution, a limit, a renamed file.
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

// isArrow tells arrows from bars, which are longer or begin with a bracket.
func isArrow(field []byte) bool {
	switch string(field) {
	case "->", "=>", "-->", "==>":
		return true
	}
	return false
}

// isPercentile tells how many were done within a time, as tools that measure a load sum up: "50%  1.23ms".
// A progress that looks the same has other values, too.
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

// lastField splits off what stands behind the last space.
func lastField(text []byte) (rest, field []byte) {
	text = bytes.TrimRight(text, " \t")
	at := bytes.LastIndexByte(text, ' ')
	at = max(at, bytes.LastIndexByte(text[at+1:], '\t')+at+1) + 1
	return text[:at], text[at:]
}

// nextWord reads the letters that text begins with.
func nextWord(text []byte) (word, rest []byte) {
	n := 0
	for n < len(text) && isLetter(text[n]) {
		n++
	}
	return text[:n], text[n:]
}

// lastWord returns the last word of text that says something, without a number behind it ("cpu0",
// "hits: 5 / 7").
func lastWord(text []byte) []byte {
	for {
		text = bytes.TrimRight(text, "0123456789 /.,:(_=")
		from := len(text)
		for from > 0 && isLetter(text[from-1]) {
			from--
		}
		switch word := text[from:]; string(word) {
		case "at", "is", "now", "to", "of", "index", "perc", "pct", "percent": // "usage is at 71%"
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
	case "usage", "used", "use", "util", "utilization", "utilisation", "capacity", "full", "free", "avail", "available", "spare",
		"idle", "busy", "iowait", "steal", "cached", "left", "remaining", "duty",
		"loss", "lost", "hit", "hits", "miss", "misses", "hitrate", "rate", "ratio", "jitter",
		"coverage", "covered", "executed", "once", "accuracy", "precision", "recall", "confidence", "similarity", "dissimilarity", "identity", "score", "quality",
		"probability", "percentile", "quorum", "threshold", "limit",
		"passed", "passing", "failed", "failing", "success",
		"deflated", "stored", "compressed", "saved", "savings", "smaller", "larger", "faster", "slower", "reduction",
		"contiguous", "fragmented", "fragmentation",
		"humidity", "cover", "chance", "charging", "discharging", "charged", "health", "wear", "brightness", "opacity", "zoom",
		"width", "height", "margin", "padding",
		"off", "discount", "tax", "vat", "interest", "growth", "increase", "decrease":
		return true
	}
	return false
}

// isAmount tells those measures that may be followed by of what, and isOf that it follows.
func isAmount(word []byte) bool {
	var room [longestName]byte
	switch string(lower(room[:0], word)) {
	case "usage", "used", "utilization", "utilisation", "capacity", "rate", "ratio", "loss", "coverage", "level", "chance":
		return true
	}
	return false
}

func isOf(word []byte) bool {
	switch string(word) {
	case "of", "on", "for", "in":
		return true
	}
	return false
}

// isThing tells names of what is measured. Work is done on some of them, too.
func isThing(word []byte) bool {
	var room [longestName]byte
	switch string(lower(room[:0], word)) {
	case "cpu", "gpu", "core", "load", "system", "user", "usr", "sys", "mem", "memory", "ram", "swap", "heap", "disk", "storage", "root", "home",
		"quota", "battery", "fan", "volume", "level", "tank", "size", "network", "cache",
		"statements", "branches", "functions", "lines":
		return true
	}
	return false
}

// longestName is how long the longest word of those above is.
const longestName = len("fragmentation")

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
