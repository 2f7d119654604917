package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/kettubot/kapi"
)

// Beside a store lie files that SQLite and kapi make and find by their names. Whoever may write to
// the folder could put links, pipes or files of others there, for a process with more rights to
// write to. So each is looked at before it is opened, here or by SQLite (which follows no links).

// wakeName is the end of the wake file's name.
const wakeName = "-wake"

// sqliteSides are the ends of the names of SQLite's files.
func sqliteSides() []string { return []string{"-journal", "-wal", "-shm"} }

// facts are what is seen of a file without opening it. All but there is only known on Linux.
type facts struct {
	there         bool
	device, inode uint64
	links         uint64
	kind          string // what it is if it is no regular file
	mode          uint32
	uid, gid      uint32
}

// same reports whether two are of one file.
func (f facts) same(g facts) bool { return f.device == g.device && f.inode == g.inode }

// admits refuses a file that doesn't belong beside a store with these facts: anything but a regular
// file with one name, or one that belongs to somebody who has no say over the store.
func (f facts) admits(side facts) error {
	switch {
	case side.kind != "":
		return fmt.Errorf("is %s, not a file of the store's", side.kind)
	case side.links > 1:
		return fmt.Errorf("has %d names (hard links)", side.links)
	case side.uid == f.uid, side.uid == 0, int(side.uid) == os.Geteuid():
	case f.mode&0o002 != 0, f.mode&0o020 != 0 && side.gid == f.gid: // whoever may write to the store
	default:
		return fmt.Errorf("belongs to user %d, not to the store's owner", side.uid)
	}
	return nil
}

// dressable reports whether a file is to get the store's owner, group or mode, and this process may
// give it that.
func (f facts) dressable(like facts) bool {
	euid := os.Geteuid()
	return f.there && (f.uid != like.uid && euid == 0 || f.gid != like.gid || f.mode != like.mode&0o666) &&
		(euid == 0 || int(f.uid) == euid)
}

// exposed says how others than owner and group can get at the store, "" if they can't.
func (f facts) exposed() string {
	switch {
	case f.mode&0o002 != 0:
		return "write to"
	case f.mode&0o004 != 0:
		return "read"
	}
	return ""
}

// checkSides refuses what lies where SQLite's files will be opened.
func checkSides(path string, like facts) error {
	found := map[string]facts{}
	for _, end := range append(sqliteSides(), wakeName) {
		side, err := factsOf(path + end)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = like.admits(side)
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", kapi.ErrUnavailable, path+end, bare(err))
		}
		found[end] = side
	}
	// Where there is an index that is in use there is a log, too.
	if index := found["-shm"]; index.there && !found["-wal"].there {
		if by := holders(index, lockDMS, 1, false); len(by) > 0 {
			if _, err := factsOf(path + "-wal"); err != nil { // it was not just made
				return fmt.Errorf("%w: its %s was removed, while %s has it open: end that first", kapi.ErrUnavailable, path+"-wal", nameProcess(by[0]))
			}
		}
	}
	return nil
}
