package progress

import "bytes"

// A frame is a place on a line where a percentage stands apart, so that the words beside it may change
// each time: a build names the file that it works on.
type frame int

const (
	noFrame      frame = iota
	bracketFirst       // "[ 42%] Building C object x.c.o"
	bracketLast        // "tests/test_x.py ....... [ 42%]"
	first              // "42% Extracting: home/x"
	frames
)

func frameOf(line []byte, p percent) frame {
	before, after := bytes.TrimSpace(line[:p.from]), bytes.TrimSpace(line[p.to:])
	if len(before) == 0 && len(after) > 0 && line[p.to] == ' ' {
		return first
	}
	outside, opened := bytes.CutSuffix(before, []byte("["))
	behind, closed := bytes.CutPrefix(after, []byte("]"))
	switch {
	case !opened || !closed || len(outside) > 0 == (len(behind) > 0):
		return noFrame
	case len(outside) == 0:
		return bracketFirst
	}
	return bracketLast
}
