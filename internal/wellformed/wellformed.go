// Package wellformed has what a text must be before kapi takes it: how long an action's texts may be,
// valid Unicode, without the padding that files and variables add ([Trim]).
//
// [Text] checks bytes, [JSON] the strings of a JSON text. Go's own decoders replace each wrong byte by
// U+FFFD, so that different texts become the same: two keys become one. All functions are pure.
package wellformed

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits of an action's texts, in code points, and of the number of its keys.
const (
	MaxTitle       = 200
	MaxDescription = 2000
	MaxState       = 500
	MaxKey         = 200
	MaxHost        = 253 // as long as a name of DNS
	MaxKeys        = 8
)

// Text says what keeps s from being UTF-8, as in `is not valid UTF-8: byte 9 is 0xe9, after
// "/srv/caf"`. Bytes are counted from 1. It is "" if s is valid.
func Text(s string) (flaw string) {
	if utf8.ValidString(s) {
		return ""
	}
	for i, r := range s {
		if r != utf8.RuneError {
			continue
		}
		if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
			return describe("UTF-8", fmt.Sprintf("0x%02x", s[i]), s[:i])
		}
	}
	return ""
}

// JSON says the same of the first of the strings in raw, which must be JSON as far as package
// encoding/json can tell. A \u escape of one half of a surrogate pair is a flaw, too: it stands
// for no character, and has no form in UTF-8. Bytes are counted in the string, not in raw.
func JSON(raw []byte) (flaw string) {
	if utf8.Valid(raw) && !bytes.Contains(raw, []byte(`\u`)) {
		return ""
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] != '"' {
			continue
		}
		end, flaw := literal(raw[i+1:])
		if flaw != "" {
			return flaw
		}
		i += 1 + end
	}
	return ""
}

// literal reads the rest of a string behind its opening quote, and returns where it ends.
func literal(raw []byte) (end int, flaw string) {
	var text []byte
	i := 0
	for i < len(raw) && raw[i] != '"' {
		if raw[i] == '\\' {
			r, size := escaped(raw[i:])
			if utf16.IsSurrogate(r) {
				return 0, describe("Unicode", string(raw[i:i+size])+", half of a surrogate pair", string(text))
			}
			text = utf8.AppendRune(text, r)
			i += size
			continue
		}
		r, size := utf8.DecodeRune(raw[i:])
		if r == utf8.RuneError && size == 1 {
			return 0, describe("UTF-8", fmt.Sprintf("0x%02x", raw[i]), string(text))
		}
		text = append(text, raw[i:i+size]...)
		i += size
	}
	return i, ""
}

// escaped reads an escape sequence. A surrogate is returned as it is if the other half of its
// pair does not follow.
func escaped(raw []byte) (r rune, size int) {
	if len(raw) < 2 {
		return '\\', len(raw)
	}
	first, ok := unit(raw)
	if !ok {
		return rune(raw[1]), 2 // a quote, n, t ...: of one byte, as is what it stands for
	}
	if second, ok := unit(raw[6:]); ok {
		if pair := utf16.DecodeRune(first, second); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return first, 6
}

// unit reads one \uXXXX escape, a unit of UTF-16.
func unit(raw []byte) (rune, bool) {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(raw[2:6]), 16, 16)
	return rune(n), err == nil
}

func describe(form, found, before string) string {
	text := fmt.Sprintf("is not valid %s: byte %d is %s", form, len(before)+1, found)
	if before == "" {
		return text
	}
	const shown = 40 // code points at most
	if runes := []rune(before); len(runes) > shown {
		before = "…" + string(runes[len(runes)-shown:])
	}
	return text + fmt.Sprintf(", after %q", before)
}

// Trim takes off what files and variables add at the ends of a value that is read from them, as in
// KAPI_STORE="$(cat FILE)": line ends (the shell leaves those of Windows), spaces, a byte order mark.
// With it, the value would name something else.
func Trim(value string) string {
	return strings.TrimFunc(value, IsPadding)
}

// IsPadding tells what Trim takes off.
func IsPadding(r rune) bool { return unicode.IsSpace(r) || r == '\uFEFF' }
