//go:build !linux

package sqlite

import (
	"errors"
	"io/fs"
	"os"
)

// networkFileSystem can't tell on this system.
func networkFileSystem(string) string { return "" }

// makeFile makes an empty file with mode 0600.
func makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// checkAccess leaves it to SQLite to say so.
func checkAccess(string) error { return nil }

// checkFolder leaves it to SQLite to say so.
func checkFolder(string) error { return nil }

// identify can't tell on this system: a copy is recognised by its wake file alone.
func identify(string, bool) (where, error) { return where{}, nil }

// pairedLate can't tell on this system.
func pairedLate(string) bool { return false }

// factsOf knows no more here than whether there is a regular file.
func factsOf(path string) (facts, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return facts{}, err
	}
	f := facts{there: true, mode: 0o600, links: 1, uid: uint32(max(os.Geteuid(), 0))}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		f.kind = "a symbolic link"
	case info.IsDir():
		f.kind = "a directory"
	case !info.Mode().IsRegular():
		f.kind = "no regular file"
	}
	return f, nil
}

// readLink reads a link, and looks at it.
func readLink(path string) (link facts, target string, err error) {
	if target, err = os.Readlink(path); err == nil {
		link, err = factsOf(path)
	}
	return link, target, err
}

// ownerOf takes all for one user's.
func ownerOf(path string) (uid uint32, err error) {
	_, err = os.Stat(path)
	return uint32(max(os.Geteuid(), 0)), err
}

// readHeadOf reads nothing: what belongs to whom can't be told here, so nothing depends on it.
func readHeadOf(string, facts) ([]byte, error) { return nil, errors.ErrUnsupported }

// openSide opens the file beside the store whose name ends so, and makes it if it isn't there.
func openSide(store, end string, like facts) (*os.File, error) {
	path := store + end
	side, err := factsOf(path)
	if err == nil {
		err = like.admits(side)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}

// dressSide leaves owners and modes as SQLite has made them.
func dressSide(string, string, facts) {}
