package sqlite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

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
	size          int64
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

// strange reports whether a file is not the store's owner's, but may be given to them here, or is that of
// whoever runs this. Somebody else who may write to the folder can have moved such a file there, for a
// process with more rights to give it away. So what is in it decides.
func (f facts) strange(side facts) bool {
	euid := os.Geteuid()
	return side.uid != f.uid && (euid == 0 || side.uid == 0 || int(side.uid) == euid)
}

// roots reports whether a file is root's beside the store of somebody else. What root's processes make
// there they give to the store's owner at once, before anything is in it.
func (f facts) roots(side facts) bool { return side.uid == 0 && f.uid != 0 }

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
	for _, end := range append(sqliteSides(), wakeName, runnersName) {
		side, err := lookAtSide(path, end, like)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", kapi.ErrUnavailable, path+end, bare(err))
		}
		found[end] = side
	}
	// Where there is an index that is in use there is a log, too.
	if index := found["-shm"]; index.there && !found["-wal"].there {
		if by := holders(path+"-shm", index, lockDMS, 1, false); len(by) > 0 {
			if _, err := factsOf(path + "-wal"); err != nil { // it was not just made
				return fmt.Errorf("%w: its %s was removed, while %s has it open: end that first", kapi.ErrUnavailable, path+"-wal", nameProcess(by[0]))
			}
		}
	}
	return nil
}

// lookAtSide looks at a file beside the store, and refuses what doesn't belong there. What somebody is
// just making may look so for a moment.
func lookAtSide(path, end string, like facts) (side facts, err error) {
	for began := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		if side, err = factsOf(path + end); err == nil {
			err = admitSide(path, end, side, like)
		}
		if !errors.Is(err, errNotOurs) || time.Since(began) > shortly {
			return side, err
		}
	}
}

// admitSide refuses a file beside the store, also for what is in it.
func admitSide(path, end string, side, like facts) error {
	err := like.admits(side)
	switch {
	case err != nil:
		return err
	case like.roots(side) && end != wakeName,
		like.roots(side) && !isMark(path+end, side),
		os.Geteuid() == 0 && like.strange(side) && genuine(path+end, end, side) == no:
		return fmt.Errorf("belongs to user %d, not to the store's owner, and %w", side.uid, errNotOurs)
	}
	return nil
}

// errNotOurs refuses a file of root's, or for what is in it.
var errNotOurs = errors.New("is no file of the store's: if it is, give it to the store's owner (chown), else remove it")

// headLength is how much of a file shows what it is.
const headLength = markLength + 1

// An answer may not be known.
type answer int

const (
	no answer = iota
	yes
	unknown
)

// genuine says whether a file beside a store is what its name says, or empty. An index of a log is while
// somebody has it open: to read it, from a process that has it open itself, would take away the
// locks on it (fcntl(2)). (SQLite empties one that nobody has open.)
func genuine(path, end string, side facts) answer {
	if side.size == 0 {
		return yes
	}
	if end == "-shm" {
		switch locks, err := locksOn(path, side); {
		case err != nil:
			return unknown
		case len(locks) > 0:
			return yes
		}
		return unknown
	}
	if head, err := readHeadOf(path, side); err != nil || !hasForm(end, head) {
		return no
	}
	return yes
}

// hasForm reports whether a file that begins with head is what its name says, or is about to become that
// (https://www.sqlite.org/fileformat2.html, "The Rollback Journal", "The Write-Ahead Log").
func hasForm(end string, head []byte) bool {
	const version = 3007000 // of logs, since there are any
	size := func(at int) uint32 { return binary.BigEndian.Uint32(head[at:]) }
	isSize := func(n uint32) bool { return n >= 32 && n <= 65536 && n&(n-1) == 0 }
	switch end {
	case wakeName:
		return isMarkText(head)
	case runnersName: // its header is written after it is made
		return blank(head) || isHeader(head)
	case "-journal": // its first 12 bytes are zero until it is synced
		const header = 28
		return len(head) >= header && isSize(size(20)) && isSize(size(24)) &&
			(bytes.HasPrefix(head, []byte{0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7}) || blank(head[:12]))
	case "-wal":
		return blank(head) || len(head) >= 8 && size(0)&^1 == 0x377f0682 && size(4) == version
	}
	return false
}

// isMarkText reports whether a whole wake file is one that kapi has written. Other short files have two
// words, too.
func isMarkText(text []byte) bool {
	m := parseMark(text)
	return len(text) == markLength && len(m.epoch) == epochLength && string(text) == m.text()
}

func isMark(path string, side facts) bool {
	text, err := readHeadOf(path, side)
	return err == nil && isMarkText(text)
}

// takeWake gives a wake file of root's, which an older kapi has left beside the store of somebody else, to
// them.
func takeWake(path string) {
	store, err := factsOf(path)
	if err != nil || os.Geteuid() != 0 {
		return
	}
	if side, err := factsOf(path + wakeName); err != nil || !store.roots(side) {
		return
	}
	if f, err := openSide(path, wakeName, store); err == nil {
		_ = f.Close()
	}
}
