package asowner

import (
	"os"
	osuser "os/user"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// become takes a user's and a group's rights to files (setfsuid(2), per thread), with the user's
// supplementary groups in place of root's, until back is called on the same goroutine.
func become(uid, gid uint32) (back func(), ok bool) {
	if nameless(uid) {
		return func() {}, false
	}
	theirs := groupsOf(uid)
	if len(theirs) > 0 && !slices.Contains(theirs, int(gid)) {
		gid = uint32(theirs[0]) // a file's group may be one that its owner isn't in, such as root's
	}
	runtime.LockOSThread()
	oldGroups, err := unix.Getgroups()
	regrouped := err == nil && setGroups(theirs) == nil // fails without CAP_SETGID
	oldGroup, _ := unix.SetfsgidRetGid(int(gid))
	oldUser, _ := unix.SetfsuidRetUid(int(uid))
	back = func() {
		_ = unix.Setfsuid(oldUser)
		_ = unix.Setfsgid(oldGroup)
		if user() == oldUser && group() == oldGroup && (!regrouped || setGroups(oldGroups) == nil) {
			runtime.UnlockOSThread() // if that fails, the thread ends with the goroutine
		}
	}
	if user() == int(uid) {
		return back, true
	}
	back() // undoes the group, too
	return func() {}, false
}

// user returns the thread's file system user id. Setting -1 is invalid, so it changes nothing.
func user() int {
	uid, _ := unix.SetfsuidRetUid(-1)
	return uid
}

func group() int {
	gid, _ := unix.SetfsgidRetGid(-1)
	return gid
}

// groupsOf returns the groups of a user, the primary one first, as far as they are known.
func groupsOf(uid uint32) (groups []int) {
	who, err := osuser.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return nil
	}
	ids, err := who.GroupIds()
	if err != nil {
		return nil
	}
	for _, id := range append([]string{who.Gid}, ids...) {
		if n, err := strconv.ParseUint(id, 10, 32); err == nil {
			groups = append(groups, int(n))
		}
	}
	return groups
}

// setGroups sets the groups of this thread; syscall.Setgroups would set those of all threads.
func setGroups(groups []int) error {
	if strconv.IntSize == 32 {
		return unix.ENOSYS // the call uses 16-bit group ids there
	}
	ids := make([]uint32, len(groups)+1)
	for i, g := range groups {
		ids[i] = uint32(g)
	}
	if _, _, err := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&ids[0])), 0); err != 0 {
		return err
	}
	return nil
}

// nameless reports whether uid is the overflow id, which stands for every user without an id in this
// user namespace. It may also be a real user's id.
func nameless(uid uint32) bool {
	all, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || slices.Equal(strings.Fields(string(all)), []string{"0", "0", "4294967295"}) {
		return false // all users have ids, or it can't be known
	}
	overflow, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	return err == nil && strings.TrimSpace(string(overflow)) == strconv.FormatUint(uint64(uid), 10)
}

// linkOwner returns the owner of the first link in a path that isn't root's.
func linkOwner(path string) (uid, gid uint32, ok bool) {
	for at := 1; at <= len(path); at++ {
		if at < len(path) && path[at] != '/' {
			continue
		}
		var stat unix.Stat_t
		if unix.Lstat(path[:at], &stat) != nil {
			return 0, 0, false
		}
		if stat.Mode&unix.S_IFMT == unix.S_IFLNK && stat.Uid != 0 {
			return stat.Uid, stat.Gid, true
		}
	}
	return 0, 0, false
}

// ownerOf returns the owner of the file that a path leads to.
func ownerOf(path string) (uid, gid uint32, err error) {
	var stat unix.Stat_t
	err = unix.Stat(path, &stat)
	return stat.Uid, stat.Gid, err
}
