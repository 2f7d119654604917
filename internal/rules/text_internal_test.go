package rules

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kettubot/kapi/internal/wellformed"
)

func TestCutState(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", ""},
		{"at the limit", strings.Repeat("é", 500), strings.Repeat("é", 500)},
		{"one past", strings.Repeat("é", 501), strings.Repeat("é", 499) + "…"},
		{"ASCII at the limit", strings.Repeat("x", 500), strings.Repeat("x", 500)},
		{"ASCII one past", strings.Repeat("x", 501), strings.Repeat("x", 499) + "…"},
		{"outside the BMP", strings.Repeat("🐈", 600), strings.Repeat("🐈", 499) + "…"},
		{"not UTF-8", "a\xff\xfeb", "a\uFFFDb"},
		{"NUL", "a\x00b", "a\uFFFDb"},
		{"line breaks stay", "a\nb", "a\nb"},
	} {
		if got := cutState(tt.in); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func FuzzCutState(f *testing.F) {
	f.Add("slot 5")
	f.Add(strings.Repeat("é", 501))
	f.Add("\xff\x00")
	f.Fuzz(func(t *testing.T, in string) {
		got := cutState(in)
		if !utf8.ValidString(got) || strings.ContainsRune(got, 0) || utf8.RuneCountInString(got) > wellformed.MaxState {
			t.Errorf("%q is not fit for a state", got)
		}
		if cutState(got) != got {
			t.Errorf("%q is cut again", got)
		}
	})
}

func TestClampProgress(t *testing.T) {
	for _, tt := range []struct {
		in, want float64
		ok       bool
	}{
		{0, 0, true},
		{1, 1, true},
		{0.5, 0.5, true},
		{-0.1, 0, true},
		{1.1, 1, true},
		{math.Inf(1), 1, true},
		{math.Inf(-1), 0, true},
		{math.NaN(), 0, false},
	} {
		if got, ok := ClampProgress(tt.in); got != tt.want || ok != tt.ok {
			t.Errorf("%v: %v, %v; want %v, %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}
