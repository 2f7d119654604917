package asowner

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// become takes the rights of a user and a group at files (setfsuid(2), which are a thread's own), until
// back is called on the same goroutine.
func become(uid, gid uint32) (back func(), ok bool) {
	runtime.LockOSThread()
	oldGroup, _ := unix.SetfsgidRetGid(int(gid))
	oldUser, _ := unix.SetfsuidRetUid(int(uid))
	back = func() {
		_ = unix.Setfsuid(oldUser)
		_ = unix.Setfsgid(oldGroup)
		if user() == oldUser && group() == oldGroup {
			runtime.UnlockOSThread() // else the thread ends with the goroutine
		}
	}
	if user() == int(uid) {
		return back, true
	}
	back() // the group, too
	return func() {}, false
}

// user returns whose rights this thread has. -1 is nobody, so it changes nothing.
func user() int {
	uid, _ := unix.SetfsuidRetUid(-1)
	return uid
}

func group() int {
	gid, _ := unix.SetfsgidRetGid(-1)
	return gid
}

// ownerOf returns whose that is which a path leads to.
func ownerOf(path string) (uid, gid uint32, err error) {
	var stat unix.Stat_t
	err = unix.Stat(path, &stat)
	return stat.Uid, stat.Gid, err
}
