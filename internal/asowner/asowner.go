// Package asowner lets root act at files with the rights of whoever they belong to: what somebody has put
// in root's way leads to nothing then that the owner couldn't get at, and what is made is the owner's.
package asowner

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Do calls f with the rights of a user and a group at files. They are those of the goroutine that calls Do,
// not of those that f starts.
//
// Where this process may not take them, f is called with the rights that it has; see Possible.
func Do(uid, gid uint32, f func() error) error {
	back, _ := become(uid, gid)
	defer back()
	return f()
}

// Possible reports whether Do can take the rights of a user. Root can't without CAP_SETUID, nor if the
// user has no number in its namespace; and on other systems than Linux nobody can.
func Possible(uid, gid uint32) bool {
	back, ok := become(uid, gid)
	defer back()
	return ok
}

// MkdirAll is os.MkdirAll, but what root makes belongs to the owner of the folder that it is made in. At the
// end of somebody's link nothing is made that they couldn't make.
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
