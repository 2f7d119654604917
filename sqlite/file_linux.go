package sqlite

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// networkFileSystems are the magic numbers that statfs(2) knows network file systems by.
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

// networkFileSystem names the network file system that a folder lies on, "" if it is
// local or can't be told.
func networkFileSystem(folder string) string {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(folder, &stat); err != nil {
		return "" // opening the file says what is wrong
	}
	return networkName(int64(stat.Type), folder)
}

// makeFile makes an empty file with mode 0600, without opening it.
func makeFile(path string) error {
	return syscall.Mknod(path, syscall.S_IFREG|0o600, 0)
}

// checkAccess says why a file can't be read and written.
func checkAccess(path string) error {
	return unix.Access(path, unix.R_OK|unix.W_OK)
}

// checkFolder says why no file can be made in a folder.
func checkFolder(path string) error {
	return unix.Access(path, unix.W_OK|unix.X_OK)
}

// identityOf tells a file from a copy of it: by its inode, and by the time of its birth,
// because the inode's number goes to the next file once this one is deleted.
func identityOf(path string) int64 {
	var stat unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_BTIME, &stat); err != nil {
		return 0
	}
	identity := int64(stat.Ino)
	if stat.Mask&unix.STATX_BTIME != 0 {
		identity ^= stat.Btime.Sec*1e9 + int64(stat.Btime.Nsec)
	}
	return identity
}
