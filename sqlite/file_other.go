//go:build !linux

package sqlite

import (
	"errors"
	"io/fs"
	"os"
)

// networkFileSystem recognises no network file systems on this system.
func networkFileSystem(string) string { return "" }

// makeFile makes an empty file with mode 0600.
func makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// checkAccess checks nothing here: SQLite fails if the file can't be read or written.
func checkAccess(string) error { return nil }

// checkFolder checks nothing here: SQLite fails if the folder can't be written to.
func checkFolder(string) error { return nil }

// identify can't identify a file on this system: a copy is recognised by its wake file alone.
func identify(string, bool) (where, error) { return where{}, nil }

// pairedLate can't tell on this system, and says no.
func pairedLate(string) bool { return false }

// factsOf only finds out here whether there is a regular file.
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

// readLink returns the target of a link, and its facts.
func readLink(path string) (link facts, target string, err error) {
	if target, err = os.Readlink(path); err == nil {
		link, err = factsOf(path)
	}
	return link, target, err
}

// ownerOf returns this process's user for every file.
func ownerOf(path string) (uid uint32, err error) {
	_, err = os.Stat(path)
	return uint32(max(os.Geteuid(), 0)), err
}

// readHeadOf always fails: owners are unknown here, so nothing needs it.
func readHeadOf(string, facts) ([]byte, error) { return nil, errors.ErrUnsupported }

// openSide opens the file beside the store whose name has this ending, and creates it if needed.
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

// dressSide changes nothing here: owners and modes stay as SQLite made them.
func dressSide(string, string, facts) {}
