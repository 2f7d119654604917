package supervise

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/term"
)

// TTY says which of the command's output files are pseudo-terminals. On a terminal programs use colours
// and progress bars.
type TTY int

const (
	// TTYAuto: those for which ours is a terminal.
	TTYAuto TTY = iota
	// TTYNever: none; all are pipes.
	TTYNever
	// TTYAlways: all, whatever ours are.
	TTYAlways
)

// An output is where the command's standard output and error go.
type output struct {
	files   [2]*os.File // of the command; nil: it inherits this process's own
	copiers []*copier
	last    lastLine // of standard error
}

// openOutput makes the pipes and pseudo-terminals. If standard output and error are the same file they
// share one, so that the order of what is written is kept.
func openOutput(c Command) (*output, error) {
	o := &output{}
	if err := o.openAll(c); err != nil {
		o.closeOwn()
		o.abandon()
		return nil, err
	}
	return o, nil
}

func (o *output) openAll(c Command) error {
	if c.Stdout != nil {
		if err := o.open(c, c.Stdout, 0); err != nil {
			return err
		}
	}
	switch {
	case c.Stderr == nil:
	case c.Stdout != nil && sameFile(c.Stdout, c.Stderr):
		o.files[1] = o.files[0]
	default:
		if err := o.open(c, c.Stderr, 1); err != nil {
			return err
		}
	}
	if o.files[1] != nil { // serves both if they are one file
		last := o.copiers[len(o.copiers)-1]
		line := last.scanner.Line
		last.scanner.Line = func(text []byte) {
			o.last.note(text)
			if line != nil {
				line(text)
			}
		}
	}
	return nil
}

func (o *output) open(c Command, to *os.File, i int) error {
	from, stand, err := o.source(c, to, i)
	if err != nil {
		return err
	}
	copier, err := newCopier(from, to, stand)
	if err != nil {
		_ = from.Close()
		return err
	}
	copier.faults = c.Faults
	copier.scanner.Line, copier.scanner.Terminal, copier.scanner.Coverage = c.Line, c.Terminal, c.Coverage
	o.copiers = append(o.copiers, copier)
	return nil
}

// source makes the file that the command writes to, and returns the end from which it is read.
func (o *output) source(c Command, to *os.File, i int) (*os.File, *terminal, error) {
	real := to
	if !isTerminal(to) {
		real = nil
	}
	if c.TTY == TTYAlways || real != nil && c.TTY != TTYNever && HasTerminals {
		t, err := openTerminal(real)
		if err == nil {
			o.files[i] = t.slave
			return t.master, t, nil
		}
		// Running the command matters more than colours.
		if c.Warn != nil {
			c.Warn(fmt.Errorf("there is no pseudo-terminal for the command's %s, so it is a pipe, as with --no-tty: %w", stream(i), err))
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("make a pipe for its %s: %w", stream(i), err)
	}
	widen(w)
	o.files[i] = w
	return r, nil, nil
}

// stream returns the name of output i.
func stream(i int) string { return [2]string{"standard output", "standard error"}[i] }

func isTerminal(f *os.File) bool { return term.IsTerminal(int(descriptor(f))) }

// sameFile says whether two of our files lead to the same reader.
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

// closeOwn closes our copies of the command's ends: otherwise end of file would never come.
func (o *output) closeOwn() {
	for _, f := range o.files {
		if f != nil {
			_ = f.Close() // closing a shared file twice is harmless
		}
	}
}

// abandon closes our ends when the command could not be started.
func (o *output) abandon() {
	for _, c := range o.copiers {
		_ = c.from.Close()
	}
}

// resize gives the pseudo-terminals the size of the real terminals, and says whether it changed.
func (o *output) resize() (changed bool) {
	o.each(func(t *terminal) { changed = t.resize() || changed })
	return changed
}

// hasTerminals says whether the command has pseudo-terminals.
func (o *output) hasTerminals() (any bool) {
	o.each(func(*terminal) { any = true })
	return any
}

// glance is how often a pseudo-terminal's modes are checked while nothing is written: soon enough for a
// password prompt. The kernel reports changes only in a mode (EXTPROC) that programs would notice.
const glance = 50 * time.Millisecond

// mirror copies modes that the command sets to the real terminals, until gone is closed.
func (o *output) mirror(gone <-chan struct{}) {
	var real []*terminal
	o.each(func(t *terminal) {
		if t.stands() {
			real = append(real, t)
		}
	})
	if len(real) == 0 {
		return
	}
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-gone:
			return
		}
		for _, t := range real {
			t.mirror()
		}
	}
}

// idle says whether everything written so far has been passed on.
func (o *output) idle() bool {
	for _, c := range o.copiers {
		if !c.idle() {
			return false
		}
	}
	return true
}

// loss returns why output could not be passed on, nil if all was.
func (o *output) loss() error {
	var all []error
	for _, c := range o.copiers {
		all = append(all, c.loss())
	}
	return errors.Join(all...)
}

// release restores the real terminals to their original modes; take undoes that.
func (o *output) release() { o.each((*terminal).release) }

func (o *output) take() { o.each((*terminal).take) }

func (o *output) each(f func(*terminal)) {
	for _, c := range o.copiers {
		if c.terminal != nil {
			f(c.terminal)
		}
	}
}
