// Package wellformed has the rules for texts that kapi takes: the lengths of an action's texts, valid
// Unicode, and no padding that files and variables add ([Trim]).
//
// [Text] checks bytes, [JSON] the strings in a JSON text. Both are needed because Go's decoder replaces
// each invalid byte by U+FFFD, so that different keys could become the same. All functions are pure.
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
	MaxHost        = 253 // the longest DNS name
	MaxKeys        = 8
	MaxLimit       = 1000      // of an operation's actions
	MaxArguments   = 64 << 10  // bytes
	MaxCheckpoint  = 256 << 10 // bytes, of one
	MaxCheckpoints = 4 << 20   // bytes, of all of an action, with their names
)

// Text says why s is not valid UTF-8, as in `is not valid UTF-8: byte 9 is 0xe9, after "/srv/caf"`.
// Bytes are counted from 1. It returns "" if s is valid.
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

// JSON does the same for the first invalid string in raw, which must be JSON that encoding/json accepts.
// An escaped half of a surrogate pair (\u) is a flaw, too: it is no character, and UTF-8 can't encode it.
// Bytes are counted in the string, not in raw.
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

// literal reads a string from after its opening quote, and returns the index of the closing one.
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

// escaped reads an escape sequence. If it is half of a surrogate pair and the other half doesn't follow,
// the half is returned.
func escaped(raw []byte) (r rune, size int) {
	if len(raw) < 2 {
		return '\\', len(raw)
	}
	first, ok := unit(raw)
	if !ok {
		return rune(raw[1]), 2 // \", \n, \t ...: only the length matters, one byte each
	}
	if second, ok := unit(raw[6:]); ok {
		if pair := utf16.DecodeRune(first, second); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return first, 6
}

// unit reads one \uXXXX escape, a UTF-16 code unit.
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

// Trim removes the padding that a value read from a file or a variable may have at its ends, as in
// KAPI_STORE="$(cat FILE)": spaces, line ends (the shell keeps the \r of Windows) and a byte order mark.
func Trim(value string) string {
	return strings.TrimFunc(value, IsPadding)
}

// IsPadding reports whether Trim removes r.
func IsPadding(r rune) bool { return unicode.IsSpace(r) || r == '\uFEFF' }
