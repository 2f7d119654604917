package sqlite

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// haveSlots is true because Linux has open file description locks.
const haveSlots = true

// fuseMagic is the magic number that statfs(2) returns for file systems in user space, including virtiofs.
const fuseMagic = 0x65735546

// lockByte sets the lock of f's open file description on one byte. The error wraps errLocked if another
// open file description has a conflicting lock.
func lockByte(f *os.File, at int64, kind int16) error {
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: at, Len: 1})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("%w: %w", errLocked, err)
	}
	return err
}

// The kinds of lock: exclusive, shared, none.
const (
	lockAlone  int16 = unix.F_WRLCK
	lockShares int16 = unix.F_RDLCK
	lockNone   int16 = unix.F_UNLCK
)

// byteLocked reports whether another open file description has a lock on a byte of the file.
func byteLocked(f *os.File, at int64) (bool, error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: at, Len: 1}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock)
	return err == nil && lock.Type != unix.F_UNLCK, err
}

// identityOf returns a number, never 0, that distinguishes a file with this beginning from all others until
// the machine restarts. The device is part of it, because two kernels, or two layers of file systems, that
// show the same file each have their own locks on it.
func identityOf(f *os.File, head []byte) (int64, error) {
	var stat unix.Statx_t
	err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &stat)
	if err != nil {
		return 0, err
	}
	sum := fnv.New64a()
	born := [2]int64{stat.Btime.Sec, int64(stat.Btime.Nsec)}
	if stat.Mask&unix.STATX_BTIME == 0 {
		born = [2]int64{}
	}
	fmt.Fprintf(sum, "%d:%d %d %d.%d ", stat.Dev_major, stat.Dev_minor, stat.Ino, born[0], born[1])
	_, _ = sum.Write(head)
	return int64(sum.Sum64() | 1), nil
}

// locksElsewhere reports whether something other than this kernel may keep the locks on a file: a server,
// which may release them while their holder lives.
func locksElsewhere(f *os.File) (bool, error) {
	var stat unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &stat); err != nil {
		return false, err
	}
	return int64(stat.Type) == fuseMagic, nil
}

func factsOfFile(f *os.File) (facts, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return facts{}, err
	}
	return factsIn(&stat), nil
}

// keepForGood keeps the open file description of f, and its locks, until this process ends.
func keepForGood(f *os.File) {
	_, _ = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

// openShared opens the file of slots again, for reading only. It returns an error that wraps errRemoved if
// the file at path is another one.
func (s *slotFile) openShared(path string) (*os.File, error) {
	folder, err := openFolder(path)
	if err != nil {
		return nil, err
	}
	defer unix.Close(folder)
	fd, err := unix.Openat(folder, filepath.Base(path), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	if now, err := factsOfFile(f); err != nil || !now.same(s.facts) {
		return nil, errors.Join(errRemoved, err, f.Close())
	}
	return f, nil
}
