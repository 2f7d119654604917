package acceptance

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/kettubot/kapi"
)

// A witness is a file per key that only the key's holder may have, independent of kapi's store. The
// holder locks it for life, and writes its name to it until it ends, so a killed holder leaves its name
// behind.
type witness struct{ *os.File }

const (
	keeps    = "keeps"    // its failure keeps the keys
	releases = "releases" // its failure frees the keys
)

// takeWitnesses takes the witnesses of all keys. leftovers names the dead holders that were to keep
// their keys; only somebody with access to the store can tell whether they had been dismissed by then.
// The error names a living holder.
func takeWitnesses(dir string, h kapi.Handle, release bool) (free func(), leftovers []string, err error) {
	var all []*witness
	for _, key := range h.Action().Keys {
		w, leftover, held := takeWitness(filepath.Join(dir, key), h.ID(), release)
		if held != nil {
			err = errors.Join(err, fmt.Errorf("action %s was given the key %q, but: %w", h.ID(), key, held))
			continue
		}
		if leftover != "" {
			leftovers = append(leftovers, leftover)
		}
		all = append(all, w)
	}
	return func() {
		for _, w := range all {
			_ = w.Truncate(0)
			_ = w.Close()
		}
	}, leftovers, err
}

func takeWitness(path, id string, release bool) (_ *witness, leftover string, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, "", err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	locked := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	content, err := io.ReadAll(f)
	if err != nil {
		return nil, "", err
	}
	if locked != nil {
		return nil, "", fmt.Errorf("a living process holds it: %q", content)
	}
	if left, onFailure, _ := strings.Cut(string(content), " "); onFailure == keeps {
		leftover = left
	}
	onFailure := keeps
	if release {
		onFailure = releases
	}
	if err := f.Truncate(0); err != nil {
		return nil, "", err
	}
	_, err = f.WriteAt([]byte(id+" "+onFailure), 0)
	return &witness{f}, leftover, err
}
