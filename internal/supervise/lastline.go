package supervise

import (
	"sync"

	"github.com/kettubot/kapi/internal/progress"
)

// maxLastLine is how much of a line is remembered, in code points.
const maxLastLine = 200

// A lastLine remembers the last line with something on it.
type lastLine struct {
	mu   sync.Mutex
	line []byte
}

func (l *lastLine) note(line []byte) {
	const most = 4 * (maxLastLine + 1) // bytes; they need not begin with a code point's first
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line = append(l.line[:0], line[:min(len(line), most)]...)
}

// String returns the line as progress.Text makes it, with at most 200 code points.
func (l *lastLine) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return progress.Text(l.line, maxLastLine)
}
