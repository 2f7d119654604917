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

// SQLite opens files by their names, and a user who may write to a store's folder can put anything there at
// any moment. So if others may write to the folder, root opens the store with the rights of its owner.

// rights are the rights to files with which a store is opened and closed. The zero value is this
// process's own.
type rights struct {
	taken    bool
	uid, gid uint32
}

// do calls f with these rights, or with this process's own if it may not take them. f must not start
// goroutines.
func (r rights) do(f func() error) error {
	if !r.taken {
		return f()
	}
	return asowner.Do(r.uid, r.gid, f)
}

// explain adds to a permission error whose rights were used, if they were not this process's own.
func (r rights) explain(err error) error {
	if r.taken && errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w (for user %d: root opens it with this user's rights, because others may write to its folder)", err, r.uid)
	}
	return err
}

// rightsFor returns the rights with which to open the store at path, which must have no links. They are
// those of the store's owner if this process is root and others may write to the folder. Then nobody can
// make root open a file that the owner couldn't open, and new files belong to the owner. A store that
// doesn't exist yet will belong to the folder's owner.
//
// rightsFor refuses a store that belongs to root in another user's folder: that user could put another of
// root's files at the path, and root would write to it. It also refuses a folder that can't be examined,
// because that may have become a link.
func rightsFor(path string) (rights, error) {
	if os.Geteuid() != 0 {
		return rights{}, nil
	}
	folder, owner, err := lookAround(path)
	switch {
	case isGone(err):
		return rights{}, fmt.Errorf("%w: can't be created: %w", kapi.ErrUnavailable, bare(err))
	case err != nil:
		return rights{}, fmt.Errorf("%w: its folder can't be opened: %w", kapi.ErrUnavailable, bare(err))
	case owner.uid == 0 && folder.uid != 0 && asowner.Possible(folder.uid, folder.gid):
		return rights{}, fmt.Errorf("%w: it is root's, in a folder of user %d, who could put anything in its place: if it is theirs, give it to them (chown -h %d %s, and its -wal, -shm, -wake and -runners), or move it to a folder of root's",
			kapi.ErrUnavailable, folder.uid, folder.uid, quoted(path))
	case owner.uid == 0, folder.uid == 0 && folder.mode&0o022 == 0:
		return rights{}, nil
	}
	return rights{true, owner.uid, owner.gid}, nil
}

// lookAround returns the facts of the folder of a path without links, and of the file in that same folder.
// If the file doesn't exist, it returns the folder's facts for it.
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

// openFolder opens the folder of an absolute path without links (O_PATH), for calls relative to it. It fails
// if a link has been put into the path since.
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

// quoted returns a path quoted for a shell.
func quoted(path string) string { return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'" }
