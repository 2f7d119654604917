package postgres

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// openSide opens a file that all processes of this user on this machine share, and creates it if it doesn't
// exist. It is in the user's runtime directory, or else in a folder of the user's own under the one for temporary
// files. Folder and file may have been put there by another user, so they are checked.
func openSide(name string) (*os.File, error) {
	folder, err := sideFolder()
	if err != nil {
		return nil, err
	}
	defer unix.Close(folder)
	fd, err := unix.Openat(folder, name, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	var is unix.Stat_t
	if err := unix.Fstat(fd, &is); err != nil || is.Mode&unix.S_IFMT != unix.S_IFREG || is.Nlink != 1 || int(is.Uid) != os.Geteuid() {
		_ = f.Close()
		return nil, fmt.Errorf("%s is not a file of this user's", name)
	}
	return f, nil
}

// inPlace reports whether the file is still the one that openSide would open: programs that clean up folders of
// temporary files remove it, and the runtime directory is removed when the user logs out.
func inPlace(f *os.File) bool {
	folder, err := sideFolder()
	if err != nil {
		return false
	}
	defer unix.Close(folder)
	var is, opened unix.Stat_t
	return unix.Fstatat(folder, f.Name(), &is, unix.AT_SYMLINK_NOFOLLOW) == nil && unix.Fstat(int(f.Fd()), &opened) == nil &&
		is.Dev == opened.Dev && is.Ino == opened.Ino
}

// sideFolder opens the folder of the shared files.
func sideFolder() (fd int, err error) {
	user := fmt.Sprint(os.Geteuid())
	for _, runtime := range []string{os.Getenv("XDG_RUNTIME_DIR"), filepath.Join("/run/user", user)} {
		if !filepath.IsAbs(runtime) {
			continue
		}
		above, err := openOwn(runtime)
		if err != nil {
			continue // sudo may have kept another user's variable
		}
		_ = unix.Close(above)
		if fd, err := makeOwn(filepath.Join(runtime, "kapi")); err == nil {
			return fd, nil
		}
	}
	return makeOwn(filepath.Join(os.TempDir(), "kapi-"+user))
}

// makeOwn opens a folder of this user's own, and makes it if it doesn't exist.
func makeOwn(path string) (fd int, err error) {
	if err := os.Mkdir(path, 0o700); err != nil && !os.IsExist(err) {
		return -1, err
	}
	return openOwn(path)
}

// openOwn opens a folder that belongs to this user, and that nobody else may use.
func openOwn(path string) (fd int, err error) {
	fd, err = unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	var is unix.Stat_t
	if err := unix.Fstat(fd, &is); err != nil || int(is.Uid) != os.Geteuid() || is.Mode&0o077 != 0 {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("%s is not a folder of this user's alone", path)
	}
	return fd, nil
}

// sinceBoot is the time since this machine was started, with the time that it was suspended.
func sinceBoot() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
	return time.Duration(t.Nano())
}
