package progress

import (
	"strings"
	"testing"
)

// BenchmarkScanner measures the cost of scanning output that arrives in pieces of 64 KiB.
func BenchmarkScanner(b *testing.B) {
	for _, c := range []struct{ name, unit string }{
		{"lines", "1234567\n"},
		{"short lines", "y\n"},
		{"percentages", "loading 50%\n"},
		{"colours", "\x1b[31mred\x1b[0m\n"},
		{"one line", "\x00"},
		{"text without an end", "some words "},
	} {
		b.Run(c.name, func(b *testing.B) {
			piece := []byte(strings.Repeat(c.unit, 64<<10/len(c.unit)))
			var l log
			tracker := NewTracker(&l, nil, 0)
			s := Scanner{Line: tracker.Line, Terminal: tracker.Terminal}
			b.SetBytes(int64(len(piece)))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = s.Write(piece)
			}
		})
	}
}

// BenchmarkPattern measures the cost of reading a line with --progress, which reads every line.
func BenchmarkPattern(b *testing.B) {
	p, err := ParsePattern(`^row (\d+)$`, 1<<20)
	if err != nil {
		b.Fatal(err)
	}
	line := []byte("row 123456")
	b.ReportAllocs()
	for b.Loop() {
		p.Read(line)
	}
}
