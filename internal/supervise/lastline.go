package supervise

import (
	"sync"

	"github.com/kettubot/kapi/internal/progress"
)

// maxLastLine is how many code points of a line are kept.
const maxLastLine = 200

// A lastLine remembers the last non-blank line.
type lastLine struct {
	mu   sync.Mutex
	line []byte
}

func (l *lastLine) note(line []byte) {
	const most = 4 * (maxLastLine + 1) // bytes; the cut may fall inside a code point
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line = append(l.line[:0], line[:min(len(line), most)]...)
}

// String returns the line as progress.Text cleans it, cut to 200 code points.
func (l *lastLine) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return progress.Text(l.line, maxLastLine)
}
