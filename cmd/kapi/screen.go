package main

import (
	"os"
	"strconv"

	"github.com/vbauerster/cupwriter"
	"golang.org/x/term"
)

// A screen is the terminal that bars are drawn on.
type screen struct {
	*cupwriter.Writer
	terminal *os.File
}

func newScreen(terminal *os.File) *screen {
	return &screen{cupwriter.New(terminal, false), terminal}
}

// GetTermSize implements mpb.ConsoleWriter. A terminal whose size was never set (docker run -t without a
// client, serial consoles, expect) reports 0, with which nothing would be drawn: then COLUMNS and LINES
// count, or else 80 by 24. The size is read each time, as it may be set later.
func (s *screen) GetTermSize() (width, height int, err error) {
	width, height, err = term.GetSize(int(s.terminal.Fd()))
	return sideOr(width, "COLUMNS", 80), sideOr(height, "LINES", 24), err
}

func sideOr(side int, variable string, usual int) int {
	if side > 0 {
		return side
	}
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil && n > 0 {
		return n
	}
	return usual
}

// room returns how much of the screen is drawn on: a line and a column less than it has, as otherwise the
// terminal would scroll, but at least one of each, and at most maxRows lines.
func (s *screen) room() (width, height int, err error) {
	width, height, err = s.GetTermSize()
	return max(width-1, 1), min(max(height-1, 1), maxRows), err
}

// Flush implements mpb.ConsoleWriter. It leaves the cursor below the rows, except on a terminal of a single
// row, which would scroll away.
func (s *screen) Flush(lines int) error {
	_, height, err := s.GetTermSize()
	if err != nil || height > 1 || lines == 0 || s.Len() == 0 {
		return s.Writer.Flush(lines)
	}
	s.Truncate(s.Len() - len("\n"))
	if err := s.Writer.Flush(0); err != nil {
		return err
	}
	_, err = s.WriteString("\r\x1b[J") // written before the next row
	return err
}
