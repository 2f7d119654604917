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

// GetTermSize implements mpb.ConsoleWriter. Of a terminal that nobody has told how large it is
// (docker run -t without a client, serial consoles, expect), each side that is 0 is what the
// environment says, and else the common one: to take it at its word would be to show nothing. It is
// asked each time, as sooner or later somebody may tell it.
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

// room is how much can be drawn there. A full line, and a full screen, would make the terminal
// scroll, but on the smallest ones there is nothing else to draw on.
func (s *screen) room() (width, height int, err error) {
	width, height, err = s.GetTermSize()
	return max(width-1, 1), min(max(height-1, 1), maxRows), err
}

// Flush implements mpb.ConsoleWriter. It leaves the cursor below the rows, except where there is one
// row in all: that would scroll away.
func (s *screen) Flush(lines int) error {
	_, height, err := s.GetTermSize()
	if err != nil || height > 1 || lines == 0 || s.Len() == 0 {
		return s.Writer.Flush(lines)
	}
	s.Truncate(s.Len() - len("\n"))
	if err := s.Writer.Flush(0); err != nil {
		return err
	}
	_, err = s.WriteString("\r\x1b[J") // goes before what is drawn next
	return err
}
