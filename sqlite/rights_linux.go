package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/asowner"
)

// Whoever may write to a store's folder can put there what they like, at any moment, and SQLite opens
// files by their names. So root opens a store in the folder of somebody else with their rights.

// withRightsOf calls f with the rights of the owner of the store at path, where this is root and others may
// write to the store's folder: whatever they put there, and whenever, f gets at nothing that the owner
// couldn't, and what it makes is the owner's. A store that isn't there yet is to be the folder's owner's. f
// must not start goroutines.
//
// Where root may not take these rights, f has root's.
func withRightsOf(path string, f func() error) error {
	if os.Geteuid() != 0 {
		return f()
	}
	folder, err := lookAtFolder(path)
	if err != nil {
		return f() // which says what is wrong
	}
	owner, err := factsOf(path)
	if isGone(err) {
		owner = folder
	}
	if owner.uid == 0 || folder.uid == 0 && folder.mode&0o022 == 0 {
		return f()
	}
	return asowner.Do(owner.uid, owner.gid, f)
}

// checkRootsOwn refuses root a store of its own in the folder of somebody else, who could move files of
// root's to where root will write then.
func checkRootsOwn(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	store, err := factsOf(path)
	if err != nil || store.uid != 0 {
		return nil //nolint:nilerror // what is wrong with it is said when it is opened
	}
	folder, err := lookAtFolder(path)
	if err != nil || folder.uid == 0 || !asowner.Possible(folder.uid, folder.gid) {
		return nil //nolint:nilerror // the same
	}
	return fmt.Errorf("%w: it is root's, in a folder of user %d, who may put anything in its place: give it to them (chown %d %s %s-*), or move it to a folder of root's",
		kapi.ErrUnavailable, folder.uid, folder.uid, path, path)
}

// lookAtFolder looks at the folder of a path that has no links in it.
func lookAtFolder(path string) (facts, error) {
	fd, err := openFolder(path)
	if err != nil {
		return facts{}, err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return facts{}, err
	}
	return factsIn(&stat), nil
}

// openFolder opens the folder of an absolute path that has no links in it, as a place to go on from. A link
// that was put there since they were resolved is not followed.
func openFolder(path string) (fd int, err error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if fd, err = unix.Open("/", flags, 0); err != nil {
		return -1, err
	}
	here := "/"
	for name := range strings.SplitSeq(strings.Trim(filepath.Dir(path), "/"), "/") {
		if name == "" {
			continue
		}
		here = filepath.Join(here, name)
		next, err := unix.Openat(fd, name, flags, 0)
		_ = unix.Close(fd)
		if errors.Is(err, unix.ENOTDIR) && isLink(here) {
			err = fmt.Errorf("%s has become a symbolic link", here)
		}
		if err != nil {
			return -1, &fs.PathError{Op: "open", Path: here, Err: err}
		}
		fd = next
	}
	return fd, nil
}

func isLink(path string) bool {
	_, err := os.Readlink(path)
	return err == nil
}
