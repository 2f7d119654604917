// Package kapitest is what tests of several packages use: the kapi that they run as a process, waiting, output
// that is read while it is written, mounts of their own, disks that fill, and pseudo-terminals.
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

// Build makes the binary in a folder, as users have it (see the Makefile), and returns its path. The
// working directory must be in the repository.
func Build(folder string) (path string, err error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	// What is read here is what go test keys a cached result with. It doesn't know that the binary
	// is a part of the test.
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

// Root finds the repository above the working directory, which go test makes the package's.
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
