// Package kapitest has what the tests of several packages share: building kapi to run it as a process,
// waiting for conditions, reading output while it is written, private mounts, disks that fill up, and
// pseudo-terminals.
package kapitest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build builds kapi into a folder, the way it is released (see the Makefile), and returns its path. The
// working directory must be in the repository.
func Build(folder string) (path string, err error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	// go test caches a result by the files and folders that the test reads, and doesn't know that the
	// binary is one of its inputs. So this reads every folder.
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if path != root && entry.IsDir() && strings.HasPrefix(entry.Name(), ".") {
			return filepath.SkipDir
		}
		return err
	})
	if err != nil {
		return "", err
	}
	path = filepath.Join(folder, "kapi")
	cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", path, "./cmd/kapi")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return path, nil
}

// Root returns the repository that contains the working directory, which go test sets to the package's
// folder.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "cmd", "kapi", "main.go")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("the working directory is not in kapi's repository")
		}
	}
}
