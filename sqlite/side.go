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

// SQLite and kapi find the files beside a store by their names. A user who may write to the folder could
// put links, pipes or other users' files there, for a process with more rights to write to. So kapi checks
// each of them before it, or SQLite (which follows no links), opens it.

// wakeName is the end of the wake file's name.
const wakeName = "-wake"

// sqliteSides are the ends of the names of SQLite's files.
func sqliteSides() []string { return []string{"-journal", "-wal", "-shm"} }

// facts are what can be learned about a file without opening it. On systems other than Linux only the fields
// there and kind are set.
type facts struct {
	there         bool
	device, inode uint64
	links         uint64
	kind          string // what it is, "" if a regular file
	mode          uint32
	uid, gid      uint32
	size          int64
}

// same reports whether f and g are facts of the same file.
func (f facts) same(g facts) bool { return f.device == g.device && f.inode == g.inode }

// admits refuses a file that can't belong beside a store with facts f: anything but a regular file with one
// name that belongs to the store's owner, root, this process's user, or a user who may write to the store.
func (f facts) admits(side facts) error {
	switch {
	case side.kind != "":
		return fmt.Errorf("is %s, not a file of the store's", side.kind)
	case side.links > 1:
		return fmt.Errorf("has %d names (hard links)", side.links)
	case side.uid == f.uid, side.uid == 0, int(side.uid) == os.Geteuid():
	case f.mode&0o002 != 0, f.mode&0o020 != 0 && side.gid == f.gid: // its owner may write to the store
	default:
		return fmt.Errorf("belongs to user %d, not to the store's owner", side.uid)
	}
	return nil
}

// strange reports whether the content of a file beside the store must be checked before this process
// gives the file to the store's owner. Another user who may write to the folder could have moved somebody
// else's file there. A file of the store's owner needs no check. Any other one does if this process is
// root, or if the file belongs to root or to this process's user.
func (f facts) strange(side facts) bool {
	euid := os.Geteuid()
	return side.uid != f.uid && (euid == 0 || side.uid == 0 || int(side.uid) == euid)
}

// roots reports whether a file beside another user's store belongs to root. Root's processes give a file
// that they create there to the store's owner while it is still empty.
func (f facts) roots(side facts) bool { return side.uid == 0 && f.uid != 0 }

// dressable reports whether a file lacks the store's owner, group or mode, and this process may change that.
func (f facts) dressable(like facts) bool {
	euid := os.Geteuid()
	return f.there && (f.uid != like.uid && euid == 0 || f.gid != like.gid || f.mode != like.mode&0o666) &&
		(euid == 0 || int(f.uid) == euid)
}

// exposed says what users other than the owner and the group may do with the store, "" if nothing.
func (f facts) exposed() string {
	switch {
	case f.mode&0o002 != 0:
		return "write to"
	case f.mode&0o004 != 0:
		return "read"
	}
	return ""
}

// checkSides refuses the store if a file beside it doesn't belong there, or its log was removed while in use.
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
	// If a process has the index open, there must be a log, too.
	if index := found["-shm"]; index.there && !found["-wal"].there {
		if by := holders(path+"-shm", index, lockDMS, 1); len(by) > 0 {
			if _, err := factsOf(path + "-wal"); err != nil { // nor has it been created meanwhile
				return fmt.Errorf("%w: its %s was removed while %s had it open: end that process first", kapi.ErrUnavailable, path+"-wal", nameProcess(by[0]))
			}
		}
	}
	return nil
}

// lookAtSide returns the facts of a file beside the store, and refuses one that doesn't belong there. It
// retries for a moment, because a file that is just being created may look wrong.
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

// admitSide refuses a file beside the store for its facts or its content.
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

// errNotOurs is returned for a file that belongs to another user and that kapi won't give to the store's
// owner by itself.
var errNotOurs = errors.New("is not recognised as a file of the store's: if it is one, give it to the store's owner (chown), otherwise remove it")

// headLength is how many bytes of a file are read to recognise it.
const headLength = markLength + 1

// An answer is yes, no or unknown.
type answer int

const (
	no answer = iota
	yes
	unknown
)

// genuine says whether a file beside a store is empty or what its name says. It doesn't read the index of a
// log: closing it again would release this process's locks on it (fcntl(2)). An index is genuine if a process
// has a lock on it, otherwise the answer is unknown. (SQLite empties an index that no process has open.)
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
	const version = 3007000 // of the format of logs, the only one so far
	size := func(at int) uint32 { return binary.BigEndian.Uint32(head[at:]) }
	isSize := func(n uint32) bool { return n >= 32 && n <= 65536 && n&(n-1) == 0 }
	switch end {
	case wakeName:
		return isMarkText(head)
	case runnersName: // its header is written some time after it is created
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

// isMarkText reports whether text is a whole wake file, exactly as kapi writes it. It is stricter than
// parseMark, which accepts any two words that could be an epoch and a seq.
func isMarkText(text []byte) bool {
	m := parseMark(text)
	return len(text) == markLength && len(m.epoch) == epochLength && string(text) == m.text()
}

func isMark(path string, side facts) bool {
	text, err := readHeadOf(path, side)
	return err == nil && isMarkText(text)
}

// takeWake gives a wake file that an older kapi, run by root, has left beside another user's store to the
// store's owner.
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
