package supervise

import (
	"fmt"
	"os"

	"golang.org/x/term"
)

// TTY says which of the command's output files are pseudo-terminals, so that it behaves as it
// would on a terminal: with colours and progress bars.
type TTY int

const (
	// TTYAuto: those that are terminals already.
	TTYAuto TTY = iota
	// TTYNever: none; they are pipes.
	TTYNever
	// TTYAlways: both, whatever they are.
	TTYAlways
)

// An output is where the command's standard output and error go.
type output struct {
	files   [2]*os.File // the command's; nil: this process's own
	copiers []*copier
	last    lastLine // of standard error
}

// openOutput makes the pipes and pseudo-terminals. Standard output and error that are the
// same file stay one, so that their order is kept.
func openOutput(c Command) (o *output, err error) {
	o = &output{}
	defer func() {
		if err != nil {
			o.closeOwn()
			o.abandon()
		}
	}()
	if c.Stdout != nil {
		if err := o.open(c, c.Stdout, 0); err != nil {
			return nil, err
		}
	}
	switch {
	case c.Stderr == nil:
	case c.Stdout != nil && sameFile(c.Stdout, c.Stderr):
		o.files[1] = o.files[0]
	default:
		if err := o.open(c, c.Stderr, 1); err != nil {
			return nil, err
		}
	}
	if o.files[1] != nil { // both, where they are one
		last := o.copiers[len(o.copiers)-1]
		line := last.scanner.Line
		last.scanner.Line = func(text []byte) {
			o.last.note(text)
			if line != nil {
				line(text)
			}
		}
	}
	return o, nil
}

func (o *output) open(c Command, to *os.File, i int) error {
	copier := &copier{to: to}
	copier.scanner.Line, copier.scanner.Terminal, copier.scanner.Coverage = c.Line, c.Terminal, c.Coverage
	real := to
	if !isTerminal(to) {
		real = nil
	}
	if c.TTY == TTYAlways || real != nil && c.TTY != TTYNever && HasTerminals {
		t, err := openTerminal(real)
		if err != nil {
			return fmt.Errorf("make a pseudo-terminal for the command: %w", err)
		}
		copier.terminal, copier.from, o.files[i] = t, t.master, t.slave
	} else {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		widen(w)
		copier.from, o.files[i] = r, w
	}
	o.copiers = append(o.copiers, copier)
	return nil
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(descriptor(f))) }

// sameFile says whether two of our files are one to those who read them.
func sameFile(a, b *os.File) bool {
	one, err := a.Stat()
	if err != nil {
		return false
	}
	other, err := b.Stat()
	return err == nil && os.SameFile(one, other)
}

// file returns the command's standard output (0) or error (1).
func (o *output) file(i int) *os.File {
	if o.files[i] != nil {
		return o.files[i]
	}
	return [2]*os.File{os.Stdout, os.Stderr}[i]
}

// closeOwn closes the command's ends here: the tree alone must hold them, or ours never end.
func (o *output) closeOwn() {
	for _, f := range o.files {
		if f != nil {
			_ = f.Close() // twice, where both are one, does no harm
		}
	}
}

// abandon closes our ends, of a command that was not started.
func (o *output) abandon() {
	for _, c := range o.copiers {
		_ = c.from.Close()
	}
}

// resize gives the pseudo-terminals the size of the terminals that they stand for. It is false
// if there is none.
func (o *output) resize() (any bool) {
	o.each(func(t *terminal) {
		t.resize()
		any = true
	})
	return any
}

// release gives the real terminals back as they were found; take undoes that.
func (o *output) release() { o.each((*terminal).release) }

func (o *output) take() { o.each((*terminal).take) }

func (o *output) each(f func(*terminal)) {
	for _, c := range o.copiers {
		if c.terminal != nil {
			f(c.terminal)
		}
	}
}
