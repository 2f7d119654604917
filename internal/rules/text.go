package rules

import (
	"math"
	"strings"
	"unicode/utf8"

	"github.com/kettubot/kapi/internal/wellformed"
)

// NotProvenDead is in the state of an action that failed while its work may still be running. It is for
// people; programs use Action.NotProvenDead.
const NotProvenDead = "not proven dead"

// cutState makes text fit for a state: valid UTF-8 without NULs, at most 500 code points. The last one
// is an ellipsis if something was cut.
func cutState(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	if len(text) <= wellformed.MaxState || utf8.RuneCountInString(text) <= wellformed.MaxState {
		return text
	}
	n := 0
	for i := range text {
		if n == wellformed.MaxState-1 {
			return text[:i] + "…"
		}
		n++
	}
	return text
}

// ClampProgress clamps a reported progress to 0 to 1. ok is false for NaN, which is to be ignored.
func ClampProgress(p float64) (clamped float64, ok bool) {
	if math.IsNaN(p) {
		return 0, false
	}
	return min(max(p, 0), 1), true
}
