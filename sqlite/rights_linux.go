package sqlite

import (
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// withRightsOf calls f with the rights of the owner of the store at path, where this is root and others may
// write to the store's folder: whatever they put there, and whenever, f gets at nothing that the owner
// couldn't, and what it makes is the owner's. f must not start goroutines.
//
// The rights are those of the thread at files alone (setfsuid(2)). Where root may not do that, f has
// root's.
func withRightsOf(path string, f func() error) error {
	store, err := factsOf(path)
	if os.Geteuid() != 0 || err != nil || store.uid == 0 || !othersWrite(filepath.Dir(path)) {
		return f()
	}
	runtime.LockOSThread()
	gid, _ := unix.SetfsgidRetGid(int(store.gid))
	uid, _ := unix.SetfsuidRetUid(int(store.uid))
	defer func() {
		_ = unix.Setfsuid(uid)
		_ = unix.Setfsgid(gid)
		if now, _ := unix.SetfsuidRetUid(-1); now == uid {
			runtime.UnlockOSThread() // else it ends with the goroutine
		}
	}()
	return f()
}

// othersWrite reports whether somebody else than root may write to a folder.
func othersWrite(folder string) bool {
	var stat unix.Stat_t
	err := unix.Stat(folder, &stat)
	return err != nil || stat.Uid != 0 || stat.Mode&0o022 != 0
}
