package progress

import "bytes"

// A TerminalState is what the terminal's progress escape calls st.
type TerminalState int

// The states of the escape (OSC 9;4), as ConEmu defined it and other terminals took it over.
const (
	TerminalNone    TerminalState = 0 // nothing is shown any more
	TerminalNormal  TerminalState = 1
	TerminalError   TerminalState = 2
	TerminalUnknown TerminalState = 3 // going on, nobody knows how far
	TerminalPaused  TerminalState = 4
)

// A TerminalProgress is one progress escape: ESC ] 9 ; 4 ; st ; pr, and BEL or ST.
type TerminalProgress struct {
	State TerminalState
	// Progress is 0 to 1, and negative if none was given.
	Progress float64
}

// parseTerminal reads an operating system command; ok is false for any other than a
// progress escape.
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
	pr, _, _ = bytes.Cut(pr, []byte(";")) // what may be added one day
	pr = bytes.TrimSpace(bytes.TrimSuffix(pr, []byte("%")))
	// A negative one is none at all; ConEmu's own has no decimals, others' have.
	if len(pr) > 0 && isDigit(pr[0]) {
		if n, ok := percentOf(pr); ok {
			p.Progress = hundredth(min(n, 100))
		}
	}
	if p.State == TerminalNormal && p.Progress < 0 {
		p.Progress = 0 // what terminals take a missing one for
	}
	return p, true
}
