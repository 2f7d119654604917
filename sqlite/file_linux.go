package sqlite

import (
	"io/fs"
	"syscall"
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

// inodeOf returns the number of a file within its file system.
func inodeOf(info fs.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(stat.Ino)
	}
	return 0
}
