package sqlite

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"path/filepath"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi"
)

// networkFileSystems names network file systems by the magic number that statfs(2) returns.
var networkFileSystems = map[int64]string{
	0x6969:     "NFS",
	0x517b:     "SMB",
	0xff534d42: "CIFS",
	0xfe534d42: "SMB2",
	0x01021997: "9P",
	0x5346414f: "AFS",
	0x6b414653: "kAFS",
	0x00c36400: "Ceph",
	0x0bd00bd0: "Lustre",
	0x73757245: "Coda",
	0x564c:     "NCP",
	0x47504653: "GPFS",
	0x19830326: "BeeGFS",
}

// networkFileSystem returns the name of the network file system that a folder is on, "" if it is local
// or unknown.
func networkFileSystem(folder string) string {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(folder, &stat); err != nil {
		return "" // opening the file says what is wrong
	}
	return networkName(int64(stat.Type), folder)
}

// makeFile makes an empty file with mode 0600, without opening it. It follows no links in path.
func makeFile(path string) error {
	folder, err := openFolder(path)
	if err != nil {
		return err
	}
	defer unix.Close(folder)
	return unix.Mknodat(folder, filepath.Base(path), unix.S_IFREG|0o600, 0)
}

// checkAccess returns an error if a file can't be read and written.
func checkAccess(path string) error { return access(path, unix.R_OK|unix.W_OK) }

// checkFolder returns an error if no file can be created in a folder.
func checkFolder(path string) error { return access(path, unix.W_OK|unix.X_OK) }

// access checks with the rights of this thread; access(2) would check with those of the process's user.
// It makes the system call itself because x/sys takes the EPERM of an immutable file for a sandbox's.
func access(path string, mode uint32) error {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	at := unix.AT_FDCWD
	switch _, _, err := unix.Syscall6(unix.SYS_FACCESSAT2, uintptr(at), uintptr(unsafe.Pointer(name)), uintptr(mode), unix.AT_EACCESS, 0, 0); err {
	case 0:
		return nil
	case unix.ENOSYS: // Linux before 5.8
		return unix.Access(path, mode)
	default:
		return err
	}
}

// identify returns what distinguishes a file and its place from all others. It refuses a file that is
// mounted by itself and, if links is true, one that has hard links.
func identify(path string, links bool) (where, error) {
	var stat unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_NLINK|unix.STATX_BTIME, &stat)
	if err != nil {
		return where{}, nil //nolint:nilerror // without statx, copies are recognised by the wake file alone
	}
	if links && stat.Nlink > 1 {
		return where{}, fmt.Errorf("%w: it has %d names (hard links), and processes that open it under two of them would not see each other: "+
			"keep one (find them with: find / -xdev -samefile %s), or copy the file", kapi.ErrUnavailable, stat.Nlink, path)
	}
	if stat.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 || stat.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		if err := checkMount(path); err != nil {
			return where{}, err
		}
	}
	// An inode number is used again once its file is deleted; the birth time distinguishes the files.
	w := where{file: int64(stat.Ino)}
	if stat.Mask&unix.STATX_BTIME != 0 {
		w.file ^= stat.Btime.Sec*1e9 + int64(stat.Btime.Nsec)
	}
	// The device number is left out: it may change with each boot, and the folder is on the same device.
	var folder unix.Stat_t
	if err := unix.Stat(filepath.Dir(path), &folder); err == nil {
		sum := fnv.New64a()
		fmt.Fprintf(sum, "%d %s", folder.Ino, filepath.Base(path))
		w.place = int64(sum.Sum64())
	}
	return w, nil
}

// pairedLate reports whether the file may have been put at its path after the log beside it was made.
// Either it was created later, or its metadata, such as its name, changed later than its content and than
// the log.
func pairedLate(path string) bool {
	var file, log unix.Statx_t
	const times = unix.STATX_BTIME | unix.STATX_CTIME | unix.STATX_MTIME
	if unix.Statx(unix.AT_FDCWD, path+"-wal", unix.AT_SYMLINK_NOFOLLOW, times, &log) != nil ||
		unix.Statx(unix.AT_FDCWD, path, 0, times, &file) != nil {
		return false
	}
	after := func(a, b unix.StatxTimestamp) bool { return a.Sec > b.Sec || a.Sec == b.Sec && a.Nsec > b.Nsec }
	return after(file.Btime, log.Btime) || after(file.Ctime, file.Mtime) && !after(log.Mtime, file.Ctime)
}

// factsOf returns the facts of a file; those of the link itself if path is a link.
func factsOf(path string) (facts, error) {
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err != nil {
		return facts{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return factsIn(&stat), nil
}

// readLink returns the target of a link and the facts of that same link. It fails if path isn't a link.
func readLink(path string) (link facts, target string, err error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return link, "", err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return link, "", err
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	return factsIn(&stat), string(buf[:max(n, 0)]), err
}

// ownerOf returns the owner of the file that path leads to.
func ownerOf(path string) (uid uint32, err error) {
	var stat unix.Stat_t
	err = unix.Stat(path, &stat)
	return stat.Uid, err
}

func factsIn(stat *unix.Stat_t) facts {
	return facts{
		there: true, device: uint64(stat.Dev), inode: stat.Ino, links: uint64(stat.Nlink), kind: kindOf(stat.Mode),
		mode: stat.Mode & 0o777, uid: stat.Uid, gid: stat.Gid, size: stat.Size,
	}
}

func kindOf(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return ""
	case unix.S_IFLNK:
		return "a symbolic link"
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFIFO:
		return "a named pipe"
	case unix.S_IFSOCK:
		return "a socket"
	}
	return "a device"
}

// readHeadOf reads the beginning of a file, whose facts the caller knows. It returns errRemoved if another file
// is at path by now.
func readHeadOf(path string, as facts) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, err
	}
	if !as.same(factsIn(&stat)) {
		return nil, errRemoved
	}
	return headIn(fd)
}

func headIn(fd int) ([]byte, error) {
	head := make([]byte, headLength)
	n, err := unix.Pread(fd, head, 0)
	return head[:max(n, 0)], err
}

// errRemoved is returned when a file is removed or replaced while it is examined.
var errRemoved = errors.New("was removed")
