// Package asowner lets root access files with the rights of their owner. So a link or file that
// somebody put in root's way leads to nothing that they couldn't reach themselves, and new files belong
// to the owner.
package asowner

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Do calls f with a user's and a group's rights to files. They apply to the goroutine that calls Do,
// not to those that f starts.
//
// If this process can't take those rights, f runs with the rights that the process has; see Possible.
func Do(uid, gid uint32, f func() error) error {
	back, _ := become(uid, gid)
	defer back()
	return f()
}

// Possible reports whether Do can take the rights of a user. Root can't do so without CAP_SETUID, or if
// the user has no id in its user namespace. On systems other than Linux it is never possible.
func Possible(uid, gid uint32) bool {
	back, ok := become(uid, gid)
	defer back()
	return ok
}

// MkdirAll is like os.MkdirAll, but a folder made by root belongs to the owner of the folder that it is
// made in. Below somebody's symbolic link it makes nothing that they couldn't make.
func MkdirAll(path string, mode fs.FileMode) error {
	mkdir := func() error { return os.MkdirAll(path, mode) }
	above := filepath.Clean(path)
	uid, gid, err := ownerOf(above)
	for errors.Is(err, fs.ErrNotExist) && above != filepath.Dir(above) {
		above = filepath.Dir(above)
		uid, gid, err = ownerOf(above)
	}
	if linkUser, linkGroup, ok := linkOwner(filepath.Clean(path)); ok {
		uid, gid, err = linkUser, linkGroup, nil
	}
	if err != nil || uid == 0 || os.Geteuid() != 0 {
		return mkdir()
	}
	return Do(uid, gid, mkdir)
}
