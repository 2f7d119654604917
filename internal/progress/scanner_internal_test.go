package progress

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// scan writes the stream in pieces of the given size and returns what was emitted.
func scan(in string, piece int, coverage Coverage) (emitted []string) {
	s := Scanner{
		Coverage: coverage,
		Line:     func(line []byte) { emitted = append(emitted, Text(line, maxLine)) },
		Terminal: func(p TerminalProgress) { emitted = append(emitted, fmt.Sprintf("<%d %v>", p.State, p.Progress)) },
	}
	for p := range slices.Chunk([]byte(in), max(piece, 1)) {
		_, _ = s.Write(p)
	}
	s.Flush()
	return emitted
}

func TestScanner(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"nothing", "", nil},
		{"lines", "one\ntwo\n", []string{"one", "two"}},
		{"without its end", "one\ntwo", []string{"one", "two"}},
		{"written over", "10%\r20%\r\n", []string{"10%", "20%"}},
		{"written over by backspaces", "a: 10%\b\b\b20%\b\b\b\b 30%\n", []string{"a: 10%", "20%", "30%"}},
		{"empty lines", "\n \t\r\n", nil},
		{"colours", "\x1b[1;31m1\x1b[0m0%\n", []string{"10%"}},
		{"cursor up", "10%\x1b[1A\x1b[2K20%\n", []string{"10%", "20%"}},
		{"cursor to a place", "\x1b7\x1b[24;0fProgress: [ 12%]\x1b8Unpacking\n", []string{"Progress: [ 12%]", "Unpacking"}},
		{"a title", "\x1b]0;50%\aone\n", []string{"one"}},
		{"a title, ST", "\x1b]0;50%\x1b\\one\n", []string{"one"}},
		{"a device control string", "\x1bPq#0\x1b\\one\n", []string{"one"}},
		{"a charset", "\x1b(Bone\n", []string{"one"}},
		{"a string without its end", "\x1b]0;title\none\n", []string{"one"}},
		{"C1 controls", "\u009b31mred\u009d0;title\u009cder\n", []string{"redder"}},
		{"C1 controls behind half of one", "\xc2\u009b31mred\xc2\xc2\n", []string{"\uFFFDred\uFFFD\uFFFD"}},
		{"other scripts", "größer Â£ 10 €\n", []string{"größer Â£ 10 €"}},
		{"progress, BEL", "a\x1b]9;4;1;42\ab\n", []string{"<1 0.42>", "ab"}},
		{"progress, ST", "\x1b]9;4;2;7\x1b\\", []string{"<2 0.07>"}},
		{"progress, C1", "\u009d9;4;4;50\u009c", []string{"<4 0.5>"}},
		{"progress without a number", "\x1b]9;4;3\a\x1b]9;4;0;\a\x1b]9;4;1\a\x1b]9;4;2;\a", []string{"<3 -1>", "<0 -1>", "<1 0>", "<2 -1>"}},
		{"progress above 100", "\x1b]9;4;1;300\a", []string{"<1 1>"}},
		{"progress with decimals", "\x1b]9;4;1;42.5\a\x1b]9;4;1;42,5\a\x1b]9;4;2;87.5\a", []string{"<1 0.425>", "<1 0.425>", "<2 0.875>"}},
		{"progress far above 100", "\x1b]9;4;1;100.5\a\x1b]9;4;1;99999999999\a", []string{"<1 1>", "<1 1>"}},
		{"progress with more", "\x1b]9;4;1;42;x\a\x1b]9;4;1; 42 \a\x1b]9;4;1;42%\a", []string{"<1 0.42>", "<1 0.42>", "<1 0.42>"}},
		{"negative progress", "\x1b]9;4;1;-0.5\a\x1b]9;4;2;-3\a\x1b]9;4;4;\a", []string{"<1 0>", "<2 -1>", "<4 -1>"}},
		{"progress that is no number", "\x1b]9;4;2;NaN\a\x1b]9;4;2;1.2.3\a\x1b]9;4;2;.\a", []string{"<2 -1>", "<2 -1>", "<2 -1>"}},
		{"no progress", "\x1b]9;4;7;1\a\x1b]9;4;\a\x1b]9;4;12;1\a\x1b]9;5\a\x1b]9;4;1;-3\a\x1b]9;4;1;x\a", []string{"<1 0>", "<1 0>"}},
		{"too long a command", "\x1b]9;4;1;" + strings.Repeat("0", 100) + "\aone\n", []string{"one"}},
		{"a command broken off", "\x1b]9;4;1;42\x1b[31mone\n\x1b]9;4;1;42\none", []string{"one", "one"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, piece := range []int{len(c.in), 1, 3} {
				for _, coverage := range []Coverage{SomeLines, AllLines, AllLinesOnce} {
					if got := scan(c.in, piece, coverage); !slices.Equal(got, c.want) {
						t.Errorf("in pieces of %d: got %q, want %q", piece, got, c.want)
					}
				}
			}
		})
	}
}

// Only the start of a line that is too long is passed on, and nothing after it is lost.
func TestScannerLongLines(t *testing.T) {
	for coverage, most := range map[Coverage]int{SomeLines: 4096, AllLines: 256 << 10, AllLinesOnce: 256 << 10} {
		for _, piece := range []int{1 << 20, 4096, 1000} {
			var lengths []int
			s := Scanner{Coverage: coverage, Line: func(line []byte) { lengths = append(lengths, len(line)) }}
			for _, size := range []int{most - 1, most, most + 1, 3 * most, 3} {
				for p := range slices.Chunk([]byte(strings.Repeat("x", size)+"\n"), piece) {
					_, _ = s.Write(p)
				}
			}
			if want := []int{most - 1, most, most, most, 3}; !slices.Equal(lengths, want) {
				t.Errorf("%d, in pieces of %d: emitted %v bytes, want %v", coverage, piece, lengths, want)
			}
		}
	}
}

// A pattern matches far into a line, whether the line has ended or not.
func TestPatternFarBehind(t *testing.T) {
	p, err := ParsePattern(`"percent": *(?P<percent>[\d.,]+)`, 0)
	if err != nil {
		t.Fatal(err)
	}
	var l log
	tracker := NewTracker(&l, p, 0)
	s := Scanner{Coverage: p.Coverage(), Line: tracker.Line}
	_, _ = s.Write([]byte(`{"padding": "` + strings.Repeat("x", 200_000) + `", "percent": 12,5}` + "\n"))
	_, _ = s.Write([]byte(`{"padding": "` + strings.Repeat("x", 5000) + `", "percent": 25.5}`))
	s.Pause()
	if got := l.String(); got != "0.125, 0.255" {
		t.Errorf("got %q", got)
	}
}

func TestScannerFlood(t *testing.T) {
	var flood strings.Builder
	for i := range 100_000 {
		fmt.Fprintln(&flood, "line", i)
	}
	flood.WriteString(" \n\r\n\n")
	for _, coverage := range []Coverage{AllLines, AllLinesOnce} {
		if emitted := scan(flood.String(), 1<<16, coverage); len(emitted) != 100_000 {
			t.Errorf("emitted %d lines, want all", len(emitted))
		}
	}
	emitted := scan(flood.String(), 1<<16, SomeLines)
	if len(emitted) > 1000 || emitted[len(emitted)-1] != "line 99999" || emitted[len(emitted)-2] != "line 99998" {
		t.Errorf("emitted %d lines, the last ones %q", len(emitted), emitted[max(len(emitted)-3, 0):])
	}
	for _, line := range emitted {
		if !strings.HasPrefix(line, "line ") || strings.Count(line, "line") != 1 {
			t.Fatalf("emitted %q, which is not a line of the input", line)
		}
	}
}

// What spans two pieces must not be lost where lines are skipped.
func TestScannerFloodSeams(t *testing.T) {
	one := strings.Repeat("a short line\n", 1000)
	emitted := scan("begin"+one+"\x1b]9;4;1;5"+"\aend", len("begin"+one)+9, SomeLines)
	if len(emitted) < 2 || emitted[0] != "begina short line" || emitted[len(emitted)-2] != "<1 0.05>" || emitted[len(emitted)-1] != "end" {
		t.Errorf("emitted %q", emitted)
	}
}

// A progress escape counts anywhere in a flood, and skipping leaves no state behind.
func TestScannerFloodOfEscapes(t *testing.T) {
	colours := strings.Repeat("\x1b[31mred\x1b[0m\n", 2000)
	for _, c := range []struct{ name, in string }{
		{"within", colours + "\x1b]9;4;1;42\a" + colours},
		{"within a line", colours + "re\x1b]9;4;1;42\x1b\\d\n" + colours},
		{"before a long line", colours + "\x1b]9;4;1;42\a" + strings.Repeat("z", 100) + "\n" + colours},
		{"C1", colours + "\u009d9;4;1;42\u009c" + colours},
		{"at the end", colours + "\x1b]9;4;1;42\a"},
		{"at the start", "\x1b]9;4;1;42\a" + colours},
	} {
		for _, piece := range []int{len(c.in), 8192, 8191} {
			emitted := scan(c.in, piece, SomeLines)
			n := 0
			for _, line := range emitted {
				switch line {
				case "<1 0.42>":
					n++
				case "red":
				default:
					t.Errorf("%s, in pieces of %d: emitted %q", c.name, piece, line)
				}
			}
			if n != 1 || len(emitted) > 500 {
				t.Errorf("%s, in pieces of %d: emitted %d times, among %d lines", c.name, piece, n, len(emitted))
			}
		}
	}
}

func TestScannerMemoryIsBounded(t *testing.T) {
	for _, begin := range []string{"", "\x1b]", "\x1bP", "\x1b["} {
		testMemoryIsBounded(t, begin, SomeLines)
		testMemoryIsBounded(t, begin, AllLines)
	}
}

func testMemoryIsBounded(t *testing.T, begin string, coverage Coverage) {
	t.Helper()
	for _, unit := range []string{"x", "€", "\x1b]0;", "\xff", " ", "\x1b]9;4;", "\xc2"} {
		s := Scanner{Coverage: coverage}
		_, _ = s.Write([]byte(begin))
		block := bytes.Repeat([]byte(unit), 1<<18/len(unit))
		for range 4 {
			_, _ = s.Write(block)
		}
		if cap(s.line) > 2*s.longest() || cap(s.command) > 4*maxCommand {
			t.Errorf("%q: the scanner holds %d and %d bytes", unit, cap(s.line), cap(s.command))
		}
	}
}

// Only the start of a line of a gigabyte is passed on, once, and what follows it is not lost.
func TestScannerGigabyte(t *testing.T) {
	block := bytes.Repeat([]byte("50% "), 1<<18)
	for coverage, size := range map[Coverage]int{SomeLines: 1 << 30, AllLines: 1 << 25, AllLinesOnce: 1 << 25} {
		var emitted []string
		s := Scanner{Coverage: coverage, Line: func(line []byte) { emitted = append(emitted, string(line)) }}
		for range size / len(block) {
			_, _ = s.Write(block)
		}
		_, _ = s.Write([]byte("\nend\n"))
		if want := []string{string(block[:s.longest()]), "end"}; !slices.Equal(emitted, want) {
			t.Errorf("%d: emitted %d lines, want 2", coverage, len(emitted))
		}
	}
}

func TestPause(t *testing.T) {
	for _, coverage := range []Coverage{SomeLines, AllLines} {
		testPause(t, coverage)
	}
}

func testPause(t *testing.T, coverage Coverage) {
	t.Helper()
	var emitted []string
	s := Scanner{Coverage: coverage, Line: func(line []byte) { emitted = append(emitted, string(line)) }}
	write := func(p string) { _, _ = s.Write([]byte(p)) }
	write("\r10%")
	if !s.Pending() {
		t.Error("Pending is false")
	}
	s.Pause()
	s.Pause()
	if s.Pending() {
		t.Error("Pending is true")
	}
	write("\r20")
	write("%")
	s.Pause()
	write(" of all\n")
	if want := []string{"10%", "20%", "20% of all"}; !slices.Equal(emitted, want) {
		t.Errorf("emitted %q, want %q", emitted, want)
	}
}

// A line that is counted must not be passed on before its end, or it would be counted twice.
func TestPauseOfWhatIsCounted(t *testing.T) {
	var emitted []string
	s := Scanner{Coverage: AllLinesOnce, Line: func(line []byte) { emitted = append(emitted, string(line)) }}
	_, _ = s.Write([]byte("moved"))
	if s.Pending() {
		t.Error("Pending is true")
	}
	s.Pause()
	_, _ = s.Write([]byte(" a\n"))
	if want := []string{"moved a"}; !slices.Equal(emitted, want) {
		t.Errorf("emitted %q, want %q", emitted, want)
	}
}

func TestText(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"  why\t ", "why"},
		{"a\tb", "a b"},
		{"text that\u202e turns\u2066", "text that turns"},
		{"a\xffb\xe2\x82", "a\uFFFDb\uFFFD\uFFFD"},
		{"\x1b[1;31mred\x1b[0m and \x1b]8;;http://x\x1b\\link\x1b]8;;\a", "red and link"},
		{"\u009b31mred\u009d0;title\u009c", "red"},
		{"ends within \x1b[31", "ends within"},
		{"two\r\nlines\n", "two lines"},
		{"a\vb\fc\u0085d\u2028e", "a b c d e"},
		{"wiped\x1b[2K\x1b[1Gagain", "wiped again"},
		{"a\x00b\x07c\x7fd", "abcd"},
		{" \x00 a\x00 ", "a"},
		{strings.Repeat("é", 20), strings.Repeat("é", 20)},
		{strings.Repeat("é", 21), strings.Repeat("é", 20) + "…"},
	} {
		if got := Text([]byte(c.in), 20); got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

// checkText fails unless the text is a single line that any terminal can show.
func checkText(t *testing.T, text string) {
	t.Helper()
	unfit := func(r rune) bool { return unicode.IsControl(r) || r != ' ' && unicode.IsSpace(r) || bidi(r) }
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unfit) || strings.TrimSpace(text) != text {
		t.Errorf("not a text: %q", text)
	}
}

func FuzzText(f *testing.F) {
	for _, seed := range []string{"\x1b[31mred\x1b[0m", "\xc2\x1b[m\x9b31m", "a\r\nb", "\u202e\x1b]0;x", " \x00 a", "\xff\xfe"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		text := Text(in, 200)
		checkText(t, text)
		if n := utf8.RuneCountInString(text); n > 201 || n == 201 && !strings.HasSuffix(text, "…") {
			t.Errorf("%d code points: %q", n, text)
		}
		if again := Text([]byte(text), 200); again != text {
			t.Errorf("%q became %q", text, again)
		}
	})
}

// The content of a sequence must be removed, whatever surrounds it.
func FuzzTextWithoutSequences(f *testing.F) {
	f.Add("before", "after", uint8(0))
	sequences := []string{"\x1b[1;31m", "\x1b[m", "\x1b]0;title\a", "\x1b]8;;http://x\x1b\\", "\x1bPq#0\x1b\\", "\x1b(B", "\u009b31m", "\u009d0;title\u009c", "\x1b=", "\x00", "\x7f"}
	f.Fuzz(func(t *testing.T, before, after string, which uint8) {
		if strings.ContainsFunc(before+after, unicode.IsControl) || !utf8.ValidString(before) || !utf8.ValidString(after) {
			return
		}
		sequence := sequences[int(which)%len(sequences)]
		if got, want := Text([]byte(before+sequence+after), 200), Text([]byte(before+after), 200); got != want {
			t.Errorf("with %q: got %q, want %q", sequence, got, want)
		}
	})
}

func FuzzScanner(f *testing.F) {
	for _, seed := range []string{"42%\r43%\n", "\x1b]9;4;1;42\a", "\x1b[1A\x1b[2K", "\xc2\x9b31m\xc2", "\x1bP\x1b\x1b]\x1b", "\u009d9;4;1;1\u009c"} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		collect := func(piece int) (emitted []string, s *Scanner) {
			s = &Scanner{Coverage: AllLinesOnce}
			s.Line = func(line []byte) {
				if bytes.ContainsAny(line, "\x1b\r\n\x00") {
					t.Errorf("a control character in %q", line)
				}
				text := Text(line, 200)
				checkText(t, text)
				emitted = append(emitted, text)
			}
			s.Terminal = func(p TerminalProgress) {
				if p.State < 0 || p.State > 4 || p.Progress > 1 {
					t.Errorf("got %+v", p)
				}
				emitted = append(emitted, fmt.Sprint(p))
			}
			for p := range slices.Chunk(in, max(piece, 1)) {
				_, _ = s.Write(p)
			}
			s.Flush()
			return emitted, s
		}
		whole, s := collect(len(in))
		pieces, _ := collect(1 + piece&7)
		if !slices.Equal(whole, pieces) {
			t.Errorf("in one piece %q, in small ones %q", whole, pieces)
		}
		if cap(s.line) > 2*s.longest() || cap(s.command) > 4*maxCommand {
			t.Errorf("the scanner holds %d and %d bytes", cap(s.line), cap(s.command))
		}
	})
}
