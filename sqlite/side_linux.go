package sqlite

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// openSide opens the file beside the store whose name has this ending, and creates it if it doesn't exist.
// It uses the descriptors of the folder and the file, and follows no links, because a user who may write to
// the folder may put anything there at any time.
func openSide(store, end string, like facts) (*os.File, error) {
	path := store + end
	folder, err := openFolder(path)
	if err != nil {
		return nil, err
	}
	defer unix.Close(folder)
	name := filepath.Base(path)
	const attempts = 20
	for attempt := 1; ; attempt++ {
		f, err := trySide(folder, store, end, like)
		if errors.Is(err, fs.ErrPermission) {
			// Usually the file was just created, and its creator is about to give it its owner and mode. If
			// that doesn't happen, the creator was killed before it could, or the file is from before the
			// store was given to a group.
			dressSide(store, end, like)
			if attempt == attempts-1 {
				discardSide(folder, name, like)
			}
		} else if !errors.Is(err, fs.ErrExist) && !errors.Is(err, errRemoved) && !errors.Is(err, errNotOurs) {
			return f, err
		}
		if attempt == attempts {
			return f, err
		}
		time.Sleep(time.Millisecond)
	}
}

// discardSide removes a file that lacks the store's owner, group or mode, and so keeps out users who may
// use the store.
func discardSide(folder int, name string, like facts) {
	var stat unix.Stat_t
	if unix.Fstatat(folder, name, &stat, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return
	}
	if now := factsIn(&stat); now.kind == "" && (now.mode != like.mode&0o666 || now.gid != like.gid || now.uid != like.uid) {
		_ = unix.Unlinkat(folder, name, 0)
	}
}

func trySide(folder int, store, end string, like facts) (*os.File, error) {
	path := store + end
	name := filepath.Base(path)
	const flags = unix.O_RDWR | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	var stat unix.Stat_t
	err := unix.Fstatat(folder, name, &stat, unix.AT_SYMLINK_NOFOLLOW)
	made := errors.Is(err, fs.ErrNotExist)
	if err == nil {
		err = admitSide(store, end, factsIn(&stat), like) // before opening it: opening a device may have effects
	}
	if err != nil && !made {
		return nil, err
	}
	fd := -1
	if made {
		fd, err = unix.Openat(folder, name, flags|unix.O_CREAT|unix.O_EXCL, 0o600)
	} else {
		fd, err = unix.Openat(folder, name, flags, 0)
	}
	if err != nil {
		return nil, err
	}
	if err = unix.Fstat(fd, &stat); err == nil && stat.Nlink == 0 {
		err = errRemoved
	}
	ours := made
	if err == nil && !made { // the file may have been replaced before it was opened
		err = admitSide(store, end, factsIn(&stat), like)
	}
	if err == nil && !made {
		var head []byte
		head, err = headIn(fd)
		ours = hasForm(end, head)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	if ours {
		dress(fd, factsIn(&stat), like)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// dressSide gives a file that SQLite has created beside the store the store's owner, group and mode.
// SQLite itself does so only as root, and a new file may have the folder's group.
//
// dressSide leaves any other file alone: somebody may have moved it there so that it is given away.
//
// It opens the file only as a path (O_PATH). Closing a real descriptor would release the process's locks
// on the file (fcntl(2)).
func dressSide(store, end string, like facts) {
	path := store + end
	now, err := factsOf(path)
	if err != nil || !now.dressable(like) || genuine(path, end, now) != yes {
		return
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if unix.Fstat(fd, &stat) != nil || !now.same(factsIn(&stat)) || like.admits(factsIn(&stat)) != nil {
		return
	}
	uid, gid := ownersFor(factsIn(&stat), like)
	_ = unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH)
	_ = unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), like.mode&0o666)
}

// dress is dressSide for a file that this process has opened itself. It ignores errors: the user may not
// be in the group, or the file system may have no owners.
func dress(fd int, now, like facts) {
	if !now.dressable(like) {
		return
	}
	uid, gid := ownersFor(now, like)
	_ = unix.Fchown(fd, uid, gid)
	_ = unix.Fchmod(fd, like.mode&0o666)
}

// ownersFor returns the owner and group to give to a file; -1 leaves one unchanged.
func ownersFor(now, like facts) (uid, gid int) {
	uid, gid = -1, -1
	if now.uid != like.uid && os.Geteuid() == 0 {
		uid = int(like.uid)
	}
	if now.gid != like.gid {
		gid = int(like.gid)
	}
	return uid, gid
}
