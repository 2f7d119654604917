package sqlite

import (
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi/internal/store"
)

// An index is the beginning of the WAL index (PATH-shm), which all processes map. Every commit changes its
// header before the commit becomes visible
// (https://www.sqlite.org/walformat.html, "WAL-Index File Format").
type index []byte

// headerSize is the size of the header in bytes. The index has two copies of it, and a writer changes the
// second first. So a reader that reads them in order and finds them equal has read a consistent header.
const headerSize = 48

// mapIndex maps the index of the store at path, which this process must have open. It returns nil if it
// can't.
func mapIndex(path string) index {
	fd := descriptorOf(path + "-shm")
	if fd < 0 {
		return nil
	}
	data, err := unix.Mmap(fd, 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil
	}
	return data
}

const descriptors = "/proc/self/fd"

// descriptorOf returns SQLite's own descriptor of a file, -1 if it has none. Opening the file again and closing it
// would release the locks that SQLite holds on it (fcntl(2)).
func descriptorOf(path string) int {
	entries, err := os.ReadDir(descriptors)
	if err != nil {
		return -1
	}
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && isDescriptorOf(fd, path) {
			return fd
		}
	}
	return -1
}

func isDescriptorOf(fd int, path string) bool {
	target, err := os.Readlink(filepath.Join(descriptors, strconv.Itoa(fd)))
	return err == nil && target == path
}

func noIndex() index { return nil }

func (i index) unmap() {
	if i != nil {
		_ = unix.Munmap(i)
	}
}

// mark returns false while a commit is changing the header, and if there is no index.
func (i index) mark() (m store.Mark, ok bool) {
	if i == nil {
		return m, false
	}
	const words = headerSize / 4
	header := (*[2][words]uint32)(unsafe.Pointer(&i[0]))
	var copies [2][words]uint32
	for n := range copies {
		for w := range words {
			copies[n][w] = atomic.LoadUint32(&header[n][w])
		}
	}
	const initialised = 3 // the word that has the isInit flag
	if copies[0] != copies[1] || copies[0][initialised] == 0 {
		return m, false
	}
	return *(*store.Mark)(unsafe.Pointer(&copies[0])), true
}
