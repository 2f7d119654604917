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

// rights are those at files that a store is opened and closed with. The zero value is this process's own.
type rights struct {
	taken    bool
	uid, gid uint32
}

// do calls f with these rights. f must not start goroutines.
//
// Where root may not take them, f has root's.
func (r rights) do(f func() error) error {
	if !r.taken {
		return f()
	}
	return asowner.Do(r.uid, r.gid, f)
}

// explain says of an error whose rights it is for want of.
func (r rights) explain(err error) error {
	if r.taken && errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w (for user %d, with whose rights root opens it: others than root may write to its folder)", err, r.uid)
	}
	return err
}

// rightsFor returns the rights that the store at path, which has no links in it, is to be opened with: those
// of its owner, where this is root and others may write to the store's folder. Whatever they put there, and
// whenever, is nothing then that the owner couldn't get at, and what is made is the owner's. A store that
// isn't there yet is to be the folder's owner's.
//
// A store of root's own in the folder of somebody else is refused: they could move files of root's to where
// root will write then. And so is a folder that can't be looked at, as that may be a link by now.
func rightsFor(path string) (rights, error) {
	if os.Geteuid() != 0 {
		return rights{}, nil
	}
	folder, owner, err := lookAround(path)
	switch {
	case isGone(err):
		return rights{}, fmt.Errorf("%w: can't be made: %w", kapi.ErrUnavailable, bare(err))
	case err != nil:
		return rights{}, fmt.Errorf("%w: its folder can't be opened: %w", kapi.ErrUnavailable, bare(err))
	case owner.uid == 0 && folder.uid != 0 && asowner.Possible(folder.uid, folder.gid):
		return rights{}, fmt.Errorf("%w: it is root's, in a folder of user %d, who may put anything in its place: if it is theirs, give it to them (chown -h %d %s, and its -wal, -shm, -wake and -runners), or move it to a folder of root's",
			kapi.ErrUnavailable, folder.uid, folder.uid, quoted(path))
	case owner.uid == 0, folder.uid == 0 && folder.mode&0o022 == 0:
		return rights{}, nil
	}
	return rights{true, owner.uid, owner.gid}, nil
}

// lookAround looks at the folder of a path that has no links in it, and at the file in that very folder. A
// file that isn't there is taken for one of the folder's owner.
func lookAround(path string) (folder, file facts, err error) {
	fd, err := openFolder(path)
	if err != nil {
		return folder, file, err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return folder, file, err
	}
	folder = factsIn(&stat)
	err = unix.Fstatat(fd, filepath.Base(path), &stat, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, fs.ErrNotExist) {
		return folder, folder, nil
	}
	return folder, factsIn(&stat), err
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

// quoted is a path as a shell takes it.
func quoted(path string) string { return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'" }
