package sqlite

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"os"
	"strings"
)

// Beside a store lies PATH-runners, a file of slots: one for each process that runs actions. Into its slot a
// process writes that it is alive, which costs neither a transaction nor a sync, and on a byte of the
// slot's own it holds a lock for as long as it lives: the kernel frees that, whatever becomes of the process.
//
// The lock is one of an open file description (F_OFD_SETLK, fcntl(2)). It belongs to a descriptor, not to the
// process, so that it isn't lost when another descriptor of the file is closed, and who asks by another
// descriptor sees it, in the same process too.
//
// A slot belongs to a runner for as long as the runner's row is in the database. Only a slot that is
// blank, or whose runner has no row, is given to another, under the database's write lock. So what is
// read in a slot, and of its lock, is about the runner that the slot names. The file never shrinks.

// runnersName is the end of the name of the file of slots.
const runnersName = "-runners"

// The locks lie far beyond the content, at these offsets and a slot's number: that of the runner, and that
// of the commands which do its work (see LockWork).
const (
	runnerLocks = int64(1) << 40
	workLocks   = int64(1) << 41
)

// A slot is laid out as follows, in little-endian order. The first one is the file's header.
//
//	 0  a word that others change to wake the runner; no renewal touches it
//	 4  the version of this layout
//	 8  the runner's id, filled up with zeros
//	40  beat: how often the runner was renewed here
//	48  heard_at: when last, in milliseconds since 1970
//	56  a checksum of all but the first word
const (
	slotSize    = 64
	slotVersion = 1

	slotFormAt = 4
	slotIDAt   = 8
	slotIDEnd  = 40
	slotBeatAt = 40
	slotHeard  = 48
	slotSumAt  = 56
)

// A slot is what stands in one.
type slot struct {
	runner string // "" in a blank one
	beat   uint64
	heard  int64
}

// highestBeat is the highest beat that a slot is believed, which can still be added to another.
const highestBeat = 1 << 53

// fits reports whether a slot can have this runner's id.
func fits(runner string) bool {
	return runner != "" && len(runner) <= slotIDEnd-slotIDAt && strings.IndexByte(runner, 0) < 0
}

func (s slot) encode() (b [slotSize]byte) {
	binary.LittleEndian.PutUint32(b[slotFormAt:], slotVersion)
	copy(b[slotIDAt:slotIDEnd], s.runner)
	binary.LittleEndian.PutUint64(b[slotBeatAt:], s.beat)
	binary.LittleEndian.PutUint64(b[slotHeard:], uint64(s.heard))
	binary.LittleEndian.PutUint64(b[slotSumAt:], sumOf(&b))
	return b
}

// decodeSlot is false for what nobody has written so, or what is being written just now. One that has never
// been written to, or was wiped, is blank.
func decodeSlot(b *[slotSize]byte) (s slot, ok bool) {
	if blank(b[slotFormAt:]) {
		return slot{}, true
	}
	s = slot{
		runner: string(bytes.TrimRight(b[slotIDAt:slotIDEnd], "\x00")),
		beat:   binary.LittleEndian.Uint64(b[slotBeatAt:]),
		heard:  int64(binary.LittleEndian.Uint64(b[slotHeard:])),
	}
	ok = binary.LittleEndian.Uint32(b[slotFormAt:]) == slotVersion && binary.LittleEndian.Uint64(b[slotSumAt:]) == sumOf(b) &&
		s.beat <= highestBeat && s.heard >= 0
	return s, ok
}

func sumOf(b *[slotSize]byte) uint64 {
	sum := fnv.New64a()
	_, _ = sum.Write(b[slotFormAt:slotSumAt])
	return sum.Sum64()
}

func blank(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// rosterMark begins the header, and then come an id of the file's own, and blanks to its end.
const rosterMark = "kapi runners 1 "

func newHeader() []byte {
	return []byte(rosterMark + newEpoch() + strings.Repeat(" ", slotSize-len(rosterMark)-epochLength-1) + "\n")
}

// isHeader reports whether a file that begins so is one of slots.
func isHeader(head []byte) bool {
	if len(head) < slotSize || !bytes.HasPrefix(head, []byte(rosterMark)) {
		return false
	}
	rest := head[len(rosterMark)+epochLength : slotSize]
	return len(bytes.Fields(head[:slotSize])) == 4 && string(bytes.TrimLeft(rest, " ")) == "\n"
}

// A slotFile is PATH-runners, opened.
type slotFile struct {
	file  *os.File
	facts facts // of the file
	// is tells the file from all others that ever were: a copy has other locks. 0 is not known yet.
	is int64
	// remote: somebody else may keep the locks than this kernel.
	remote bool
}

// openSlots opens the file of slots beside a store.
func openSlots(store string, like facts, r rights) (*slotFile, error) {
	var f *os.File
	err := r.do(func() (err error) {
		f, err = openSide(store, runnersName, like)
		return err
	})
	if err != nil {
		return nil, err
	}
	s := &slotFile{file: f}
	if s.facts, err = factsOfFile(f); err == nil {
		s.remote, err = locksElsewhere(f)
	}
	if err == nil {
		err = s.identify()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

// errForeignRoster refuses a file of slots that no kapi has written.
var errForeignRoster = errors.New("is not kapi's")

// identify finds out which file it is, if it has a header.
func (s *slotFile) identify() error {
	head := make([]byte, slotSize)
	n, err := s.file.ReadAt(head, 0)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return err
	case blank(head[:n]):
		s.is = 0
		return nil
	case !isHeader(head[:n]):
		return errForeignRoster
	}
	s.is, err = identityOf(s.file, head)
	return err
}

// begin gives a new file its header. The database's write lock is held.
func (s *slotFile) begin() error {
	if err := s.identify(); err != nil || s.is != 0 {
		return err
	}
	if _, err := s.file.WriteAt(newHeader(), 0); err != nil {
		return err
	}
	return s.identify()
}

// inPlace reports whether it is what stands at the path.
func (s *slotFile) inPlace(path string) bool {
	now, err := factsOf(path)
	return err == nil && now.same(s.facts)
}

// read reads a slot. One beyond the end is blank.
func (s *slotFile) read(number int64) (slot, bool) {
	const attempts = 3 // somebody may be writing it
	for range attempts {
		var b [slotSize]byte
		if _, err := s.file.ReadAt(b[:], number*slotSize); err != nil && !errors.Is(err, io.EOF) {
			return slot{}, false
		}
		if found, ok := decodeSlot(&b); ok {
			return found, true
		}
	}
	return slot{}, false
}

// write writes a whole slot, but for the word that wakes its runner.
func (s *slotFile) write(number int64, content slot) error {
	b := content.encode()
	_, err := s.file.WriteAt(b[slotFormAt:], number*slotSize+slotFormAt)
	return err
}

// renew writes what a renewal changes. A slot that was wiped meanwhile has no runner afterwards either.
func (s *slotFile) renew(number int64, content slot) error {
	b := content.encode()
	_, err := s.file.WriteAt(b[slotBeatAt:], number*slotSize+slotBeatAt)
	return err
}

// wipe makes a slot blank.
func (s *slotFile) wipe(number int64) error {
	var b [slotSize]byte
	_, err := s.file.WriteAt(b[slotFormAt:], number*slotSize+slotFormAt)
	return err
}

// count returns how many slots there are, of which some may be blank.
func (s *slotFile) count() (int64, error) {
	info, err := s.file.Stat()
	if err != nil {
		return 0, err
	}
	return max(0, (info.Size()+slotSize-1)/slotSize-1), nil
}

// somewhere returns a number from 1 to n, another in each process.
func somewhere(n int64) int64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return 1 + int64(binary.LittleEndian.Uint64(b[:])%uint64(n))
}
