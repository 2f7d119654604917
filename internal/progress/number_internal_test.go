package progress

import (
	"fmt"
	"math"
	"testing"
)

// A percentage, in which a single mark is always the decimal mark.
func TestPercentOf(t *testing.T) {
	const none = -1
	for _, c := range []struct {
		in   string
		want float64
	}{
		{"42", 42},
		{"12.5", 12.5},
		{"12,5", 12.5},
		{"12,345", 12.345}, // 12,345 % makes no sense
		{"1.234", 1.234},
		{"0,125", 0.125},
		{",5", 0.5},
		{".5", 0.5},
		{"42.", 42}, // the end of a sentence
		{"42,", 42},
		{"12,5 %", 12.5},
		{"12,5\u00a0%", 12.5},
		{"12,5\u202f%", 12.5},
		{"４２．５％", 42.5},
		{"1e1", 10},
		{"-3", -3},
		{"+3", 3},
		{"1.234,5", 1234.5},
		{"1,234.5", 1234.5},
		{"", none},
		{",", none},
		{"x", none},
		{"NaN", none},
		{"Inf", none},
		{"0x10", none},
		{"1.2.3", none}, // a version
		{"1,2,3", none}, // a list
		{"4٣", none},
		{"1e999", none},
		{"1-2", none},
		{"1111111111222222222233333333334444444444555555555566", none},
	} {
		got, ok := percentOf([]byte(c.in))
		if !ok {
			got = none
		}
		if got != c.want {
			t.Errorf("%q: got %v, want %v", c.in, got, c.want)
		}
	}
}

// Done and total, which are read in the same style.
func TestShareOf(t *testing.T) {
	for _, c := range []struct {
		done, total string
		a, b        float64 // 0, 0: not a number
		why         string
	}{
		{"5", "20", 5, 20, ""},
		{"2,5", "100,0", 2.5, 100, "other than three digits follow"},
		{"2.5", "100.0", 2.5, 100, ""},
		{"1,234", "5,678", 1234, 5678, "nothing decides, and the share is the same"},
		{"1.234", "5.678", 1234, 5678, ""},
		{"999", "1,234", 999, 1234, "a program that counts in fractions shows them in both"},
		{"999", "1.234", 999, 1234, ""},
		{"1", "1.234", 1, 1234, ""},
		{"0,999", "1,234", 0.999, 1.234, "a group is never 0"},
		{"0.999", "1.234", 0.999, 1.234, ""},
		{"9,5", "1,234", 9.5, 1.234, "one decides for both"},
		{"1,234", "1234,5", 1.234, 1234.5, ""},
		{"1.234", "12.345,6", 1234, 12345.6, ""},
		{"1,234", "12,345.6", 1234, 12345.6, ""},
		{"1.234", "1.234.567", 1234, 1234567, ""},
		{"999.999", "1,234,567", 999.999, 1234567, "the comma groups, so the point does not"},
		{"1,234", "1,234,567", 1234, 1234567, ""},
		{"1.234.567,89", "2.000.000,00", 1234567.89, 2000000, ""},
		{"1 234", "5 678", 1234, 5678, ""},
		{"1\u00a0234,5", "5\u202f678,5", 1234.5, 5678.5, ""},
		{"1'234", "5’678.5", 1234, 5678.5, "Switzerland"},
		{"12,345.6", "1,00,000.0", 12345.6, 100000, "India"},
		{"12,34,567", "99,99,999", 1234567, 9999999, ""},
		{"1_234", "5_678", 1234, 5678, ""},
		{"1234,567", "2345,678", 1234.567, 2345.678, "no group has four digits"},
		{"12,5", "100.0", 12.5, 100, "each decides for itself"},
		{"1,234 ", " 5,678", 1234, 5678, ""},
		{"1,2345.6", "5", 0, 0, "no groups of four"},
		{"1.2.3", "5", 0, 0, ""},
		{"1,234.567.8", "5", 0, 0, ""},
		{"", "7", 0, 0, ""},
		{"7", "0", 0, 0, ""},
	} {
		got, ok := shareOf([]byte(c.done), []byte(c.total))
		if ok != (c.b > 0) || ok && math.Abs(got-c.a/c.b) > 1e-12 {
			t.Errorf("%s of %s: got %v, %v; want %v of %v (%s)", c.done, c.total, got, ok, c.a, c.b, c.why)
		}
	}
}

// Numbers counted against --total.
func TestShareOfTotal(t *testing.T) {
	for _, c := range []struct {
		done  string
		total float64
		want  float64
	}{
		{"50", 200, 50},
		{"2,5", 100, 2.5},
		{"1,234", 5678, 1234},
		{"12,345", 100, 12.345}, // otherwise more would be done than there is
		{"1.234", 5678, 1.234},  // a decimal point, as almost every tool writes it
		{"1.234.567", 2e6, 1234567},
		{"1.234,5", 5678, 1234.5},
		{"1 234", 5678, 1234},
	} {
		if got, ok := shareOfTotal([]byte(c.done), c.total); !ok || got != c.want/c.total {
			t.Errorf("%s of %v: got %v, %v, want %v", c.done, c.total, got, ok, c.want/c.total)
		}
	}
}

// Whatever the language of the tool, its numbers are read as they were meant.
func FuzzShareOf(f *testing.F) {
	f.Add(uint32(1234567), uint32(7654321), uint8(0), uint8(2))
	f.Fuzz(func(t *testing.T, x, y uint32, language, decimals uint8) {
		marks := [][2]string{{",", "."}, {".", ","}, {" ", ","}, {"'", "."}, {"\u202f", ","}, {"", "."}, {"", ","}}[language%7]
		done, total := min(x, y), max(x, y, 1)
		places := int(decimals % 4)
		got, ok := shareOf([]byte(format(done, places, marks)), []byte(format(total, places, marks)))
		if want := float64(done) / float64(total); !ok || math.Abs(got-want) > 1e-9 {
			// A single mark before three digits groups, and the share is the same as long as both
			// numbers have one.
			t.Errorf("%s of %s: got %v, %v, want %v", format(done, places, marks), format(total, places, marks), got, ok, want)
		}
	})
}

// format writes n with the given number of decimal places, which are its last digits.
func format(n uint32, places int, marks [2]string) string {
	text := fmt.Sprintf("%0*d", places+1, n)
	whole, rest := text[:len(text)-places], text[len(text)-places:]
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + marks[0] + whole[i:]
	}
	if places > 0 {
		whole += marks[1] + rest
	}
	return whole
}

// A flood may have two numbers on each line, so reading them must hardly allocate.
func TestNumberCostsLittle(t *testing.T) {
	done, total := []byte("1,234,567"), []byte("2,345,678.5")
	if got := testing.AllocsPerRun(100, func() { shareOf(done, total) }); got > 2 {
		t.Errorf("got %v allocations, want at most 1 for each number", got)
	}
}

// What is shown as 99.99 % is 0.9999, not the float just below it.
func TestHundredth(t *testing.T) {
	for i := range 10_001 {
		if got, want := hundredth(float64(i)/100), float64(i)/10_000; got != want {
			t.Fatalf("%v %%: got %v, want %v", float64(i)/100, got, want)
		}
	}
}
