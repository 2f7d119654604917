package progress

import "bytes"

// A TerminalState is the parameter st of the terminal's progress escape.
type TerminalState int

// The states of the escape (OSC 9;4), as defined by ConEmu and adopted by other terminals.
const (
	TerminalNone    TerminalState = 0 // nothing is shown
	TerminalNormal  TerminalState = 1
	TerminalError   TerminalState = 2
	TerminalUnknown TerminalState = 3 // in progress, without a value
	TerminalPaused  TerminalState = 4
)

// A TerminalProgress is one progress escape: ESC ] 9 ; 4 ; st ; pr, and BEL or ST.
type TerminalProgress struct {
	State TerminalState
	// Progress is 0 to 1, negative if none was given.
	Progress float64
}

// parseTerminal parses an operating system command; ok is false if it isn't a progress escape.
func parseTerminal(command []byte) (p TerminalProgress, ok bool) {
	rest, ok := bytes.CutPrefix(command, []byte("9;4;"))
	if !ok || len(command) > maxCommand {
		return p, false
	}
	st, pr, _ := bytes.Cut(rest, []byte(";"))
	if len(st) != 1 || st[0] < '0' || st[0] > '4' {
		return p, false
	}
	p = TerminalProgress{TerminalState(st[0] - '0'), -1}
	pr, _, _ = bytes.Cut(pr, []byte(";")) // parameters that may be added in future
	pr = bytes.TrimSpace(bytes.TrimSuffix(pr, []byte("%")))
	// A negative number counts as none. ConEmu has no decimals; other terminals do.
	if len(pr) > 0 && isDigit(pr[0]) {
		if n, ok := percentOf(pr); ok {
			p.Progress = hundredth(min(n, 100))
		}
	}
	if p.State == TerminalNormal && p.Progress < 0 {
		p.Progress = 0 // terminals read a missing number as 0
	}
	return p, true
}
