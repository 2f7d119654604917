//go:build unix

package notify

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// locked and unlocked are the prefixes of a folder's name, before a number. Only folders named
	// locked are ever swept.
	locked   = "kapi-run-"
	unlocked = "kapi-"
	name     = "notify" // of the socket in the folder
	// longestParent leaves room for the rest of the address (unix(7)).
	longestParent = 100 - len("/"+locked+"0123456789/"+name)
	// tries limits how often makeFolder starts over because a sweep removed the folder before it was
	// locked.
	tries = 10
)

// A folder holds one socket. It is locked while the process that made it lives.
type folder struct {
	path string
	lock *os.File // the folder, opened and locked; nil where the file system has no locks
}

// makeFolder makes a folder that only this user and root can enter.
func makeFolder(parent string) (folder, error) {
	for range tries {
		path, err := os.MkdirTemp(parent, locked)
		if err != nil {
			return folder{}, err
		}
		lock, err := lockFolder(path)
		switch {
		case err == nil:
			return folder{path, lock}, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, os.ErrNotExist):
			// The file system has no locks, so the name must not promise one.
			_ = os.Remove(path)
			path, err = os.MkdirTemp(parent, unlocked)
			return folder{path, nil}, err
		}
	}
	return folder{}, fmt.Errorf("new folders in %s are removed at once", parent)
}

// remove removes the folder, then releases its lock.
func (f folder) remove() {
	_ = os.RemoveAll(f.path)
	if f.lock != nil {
		_ = f.lock.Close()
	}
}

// lockFolder opens and locks a folder. The error is unix.EWOULDBLOCK if another process has the lock,
// os.ErrNotExist if the folder is gone.
func lockFolder(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := lockOpened(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// lockOpened locks a folder that may have been removed since it was opened.
func lockOpened(f *os.File) error {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	var now, opened unix.Stat_t
	if err := errors.Join(unix.Lstat(f.Name(), &now), unix.Fstat(int(f.Fd()), &opened)); err != nil {
		return err
	}
	if now.Ino != opened.Ino || now.Dev != opened.Dev {
		return os.ErrNotExist
	}
	return nil
}

// few is how many folders a sweep examines.
const few = 8

// sweep removes folders beside f that killed processes have left. It examines only a few, chosen at random:
// each of a thousand processes would otherwise examine those of all the others. Once stop is closed, it chooses
// from what it has read so far.
func (f folder) sweep(stop <-chan struct{}) {
	for _, name := range f.choose(stop) {
		sweepOne(filepath.Join(filepath.Dir(f.path), name))
	}
}

// choose returns the names of a few folders beside f.
func (f folder) choose(stop <-chan struct{}) (chosen []string) {
	const some, most = 256, 16 << 10
	parent, err := os.Open(filepath.Dir(f.path))
	if err != nil {
		return nil
	}
	defer parent.Close()
	for read, ours := 0, 0; read < most; {
		names, err := parent.Readdirnames(some)
		for _, name := range names {
			if !isOurs(name) || name == filepath.Base(f.path) {
				continue
			}
			ours++
			if len(chosen) < few {
				chosen = append(chosen, name)
			} else if i := rand.IntN(ours); i < few {
				chosen[i] = name
			}
		}
		read += len(names)
		select {
		case <-stop:
			return chosen
		default:
		}
		if err != nil || len(names) == 0 {
			return chosen
		}
	}
	return chosen
}

// isOurs says whether name is that of a folder that is locked while its process lives.
func isOurs(name string) bool {
	number, ok := strings.CutPrefix(name, locked)
	return ok && number != "" && strings.Trim(number, "0123456789") == ""
}

// sweepOne removes a folder if the process that made it is dead. If the lock can be had, that process
// is dead, and no other process starts to use the folder meanwhile: makeFolder takes the lock, then
// checks that the folder still exists.
func sweepOne(path string) {
	f, err := lockFolder(path)
	if err != nil {
		return
	}
	defer f.Close()
	var folder, socket unix.Stat_t
	at := int(f.Fd())
	if unix.Fstat(at, &folder) != nil || int(folder.Uid) != os.Geteuid() || folder.Mode&0o777 != 0o700 {
		return
	}
	if unix.Fstatat(at, name, &socket, unix.AT_SYMLINK_NOFOLLOW) == nil && socket.Mode&unix.S_IFMT == unix.S_IFSOCK {
		_ = unix.Unlinkat(at, name, 0)
	}
	_ = unix.Rmdir(path) // fails if anything else is in it
}
