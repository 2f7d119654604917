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

// PATH-runners is a file of slots beside the store, one for each process that runs actions. A process writes
// to its slot that it is alive, which needs neither a transaction nor a sync. It also holds a lock on a byte
// that belongs to the slot; the kernel releases the lock when the process ends, however that happens.
//
// The lock is an open file description lock (F_OFD_SETLK, fcntl(2)). So it isn't lost when another descriptor
// of the file is closed, and it is visible through any other descriptor, even in the same process.
//
// A slot belongs to a runner as long as the runner's row is in the database. Only a slot that is blank, or
// whose runner has no row, is given to another runner, under the database's write lock. So the content of
// a slot and its locks are always about the runner that the slot names. The file never shrinks.

// runnersName is the end of the name of the file of slots.
const runnersName = "-runners"

// The locks are far beyond the content, each at one of these offsets plus the slot's number: the lock of the
// runner, and that of the commands that do its work (see LockWork).
const (
	runnerLocks = int64(1) << 40
	workLocks   = int64(1) << 41
)

// A slot is laid out as follows, in little-endian order. The first one is the file's header.
//
//	 0  a word that others change to wake the runner (see bell.go); renewals don't write it
//	 4  the version of this layout
//	 8  the runner's id, padded with zeros
//	40  beat: how often the runner was renewed here
//	48  heard_at: the time of the last renewal, in milliseconds since 1970
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

// A slot is the content of a slot in the file.
type slot struct {
	runner string // "" in a blank one
	beat   uint64
	heard  int64
}

// highestBeat is the highest beat that is accepted from a slot. Adding it to another can't overflow.
const highestBeat = 1 << 53

// fits reports whether a slot can store this runner id.
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

// decodeSlot returns false if the content isn't valid, for example because it is just being written. A slot
// that was never written to, or was wiped, is blank, which is valid.
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

// rosterMark begins the header. A random id of the file follows, then spaces and a newline.
const rosterMark = "kapi runners 1 "

func newHeader() []byte {
	return []byte(rosterMark + newEpoch() + strings.Repeat(" ", slotSize-len(rosterMark)-epochLength-1) + "\n")
}

// isHeader reports whether a file that begins with head is a file of slots.
func isHeader(head []byte) bool {
	if len(head) < slotSize || !bytes.HasPrefix(head, []byte(rosterMark)) {
		return false
	}
	rest := head[len(rosterMark)+epochLength : slotSize]
	return len(bytes.Fields(head[:slotSize])) == 4 && string(bytes.TrimLeft(rest, " ")) == "\n"
}

// A slotFile is an open PATH-runners.
type slotFile struct {
	file  *os.File
	facts facts // of the file
	// is distinguishes the file from all others (see identityOf): a copy has other locks. It is 0 until
	// the file has a header.
	is int64
	// remote is true if something other than this kernel may keep the locks.
	remote bool
}

// openSlots opens the file of slots beside a store, and creates it if it doesn't exist.
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

// errForeignRoster is returned for a file of slots that kapi hasn't written.
var errForeignRoster = errors.New("is not kapi's")

// identify sets s.is, to 0 if the file has no header yet.
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

// begin writes the header of a new file. The caller holds the database's write lock.
func (s *slotFile) begin() error {
	if err := s.identify(); err != nil || s.is != 0 {
		return err
	}
	if _, err := s.file.WriteAt(newHeader(), 0); err != nil {
		return err
	}
	return s.identify()
}

// inPlace reports whether the file is the one at path.
func (s *slotFile) inPlace(path string) bool {
	now, err := factsOf(path)
	return err == nil && now.same(s.facts)
}

// read reads a slot. One beyond the end is blank.
func (s *slotFile) read(number int64) (slot, bool) {
	const attempts = 3 // another process may be writing the slot
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

// write writes a whole slot, except the word that wakes its runner.
func (s *slotFile) write(number int64, content slot) error {
	b := content.encode()
	_, err := s.file.WriteAt(b[slotFormAt:], number*slotSize+slotFormAt)
	return err
}

// renew writes only what a renewal changes, so that a slot that has just been wiped still has no runner.
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

// count returns how many slots the file has. Some may be blank.
func (s *slotFile) count() (int64, error) {
	info, err := s.file.Stat()
	if err != nil {
		return 0, err
	}
	return max(0, (info.Size()+slotSize-1)/slotSize-1), nil
}

// somewhere returns a random number from 1 to n.
func somewhere(n int64) int64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return 1 + int64(binary.LittleEndian.Uint64(b[:])%uint64(n))
}
