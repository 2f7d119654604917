package linear

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"slices"
	"sync"
)

// A grant is what a peer got from a start; with it, any peer can report on the action.
type grant struct {
	ID     string
	Title  string
	Fence  uint64
	Remote bool
}

// recent is how many of the latest grants are used.
const recent = 12

// fences are the grants of all peers of a history. They are kept in a file, so that the peers have the
// grants of killed and frozen ones too.
type fences struct {
	file *os.File

	mu   sync.Mutex
	read int64
	last []grant // the newest last
}

func openFences(path string) (*fences, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	return &fences{file: file}, err
}

func (f *fences) add(g grant) error {
	b, err := json.Marshal(g)
	if err != nil {
		return err
	}
	_, err = f.file.Write(append(b, '\n')) // one appending write, so that writers don't interfere
	return err
}

// latest returns the newest grants.
func (f *fences) latest() ([]grant, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text, err := io.ReadAll(io.NewSectionReader(f.file, f.read, 1<<30))
	if err != nil {
		return nil, err
	}
	for {
		line, rest, whole := bytes.Cut(text, []byte{'\n'})
		if !whole {
			break
		}
		var g grant
		if err := json.Unmarshal(line, &g); err != nil {
			return nil, err
		}
		f.read += int64(len(line)) + 1
		f.last = append(f.last, g)
		text = rest
	}
	f.last = f.last[max(0, len(f.last)-recent):]
	return slices.Clone(f.last), nil
}
