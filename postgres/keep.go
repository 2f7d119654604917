package postgres

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/kettubot/kapi/internal/keep"
	"github.com/kettubot/kapi/internal/store"
)

// A side is the file that all processes of this user on this machine share for one store. Its locks elect the
// keeper. Its content is the bell: the keeper, which reads the feed, notes there whose records have changed, so that
// light peers need not ask the database.
//
// The file holds the time of the keeper's last read of the feed (by CLOCK_BOOTTIME, in nanoseconds), a number that
// changes when every runner's records may have changed, and, from firstWord on, a word for each hash of a runner's id:
// the seq of the last change to one of its records.
type side struct {
	mu     sync.Mutex
	name   string   // "" if there is no such file: then each peer is a keeper
	file   *os.File // nil until it is first needed
	keeper *keep.Keeper
	keeps  bool // this process is the keeper
	// unrung is set until this process, as the new keeper, has rung for all runners: nobody may have rung for what
	// changed before.
	unrung bool
}

const (
	words, firstWord = 4096, 64
	// fresh is how long the bell can be trusted after the keeper's last read. Keepers read once a second.
	fresh = 1500 * time.Millisecond
)

// sideName returns the name of a store's file. identity must be secret: then another user, who can't read the
// file's folder, can't guess the name either.
func sideName(identity ...string) string {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // the folder may be on a network file system
	sum := sha256.Sum256([]byte(strings.Join(append(identity, string(boot)), "\x00")))
	return "postgres-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
}

// Keep implements store.Keeper.
func (s *Store) Keep(namespace string) bool {
	d := &s.side
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.open() {
		return true
	}
	if d.keeper == nil {
		d.keeper = keep.New(namespace)
	}
	was := d.keeps
	d.keeps = d.keeper.Try(d.file)
	d.unrung = d.unrung || !was
	return d.keeps
}

// open opens the file, if that was not done yet or the file was removed since.
func (d *side) open() bool {
	if d.name == "" {
		return false
	}
	if d.file != nil && !inPlace(d.file) {
		d.close()
	}
	if d.file == nil {
		d.file, _ = openSide(d.name)
	}
	return d.file != nil
}

func (d *side) close() {
	if d.file != nil {
		_ = d.file.Close()
		d.file, d.keeps = nil, false
	}
}

// end closes the file for good.
func (d *side) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.close()
	d.name = ""
}

// yield lets another process become the keeper.
func (d *side) yield() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keeper != nil && d.file != nil {
		d.keeper.Yield()
	}
}

// Rung implements store.Bell.
func (s *Store) Rung(runner string) (mark uint64, ok bool) {
	d := &s.side
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil && !d.open() {
		return 0, false
	}
	var head [16]byte
	var word [8]byte
	if _, err := d.file.ReadAt(head[:], 0); err != nil {
		return 0, false // no keeper has read the feed yet
	}
	_, _ = d.file.ReadAt(word[:], wordOf(runner)) // beyond the end of the file the word is 0
	age := sinceBoot() - time.Duration(binary.LittleEndian.Uint64(head[:8]))
	return binary.LittleEndian.Uint64(head[8:]) ^ binary.LittleEndian.Uint64(word[:]), age >= 0 && age < fresh
}

func wordOf(runner string) int64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(runner))
	return firstWord + 8*int64(h.Sum32()%words)
}

// ring notes for the runners of changed records that they changed, if this process is the keeper.
func (d *side) ring(records ...[]store.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.keeps || d.file == nil {
		return
	}
	for _, changed := range records {
		for i := range changed {
			if r := &changed[i]; r.Runner != nil {
				var word [8]byte
				binary.LittleEndian.PutUint64(word[:], r.Seq)
				_, _ = d.file.WriteAt(word[:], wordOf(r.Runner.ID))
			}
		}
	}
}

// beat notes that the keeper has read the feed up to now, or, if all is set, that it has loaded all records anew.
func (d *side) beat(all bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.keeps || d.file == nil {
		return
	}
	var head [16]byte
	binary.LittleEndian.PutUint64(head[:8], uint64(sinceBoot()))
	binary.LittleEndian.PutUint64(head[8:], rand.Uint64()) //nolint:gosec // it need only differ
	if all || d.unrung {
		d.unrung = false
		_, _ = d.file.WriteAt(head[:], 0)
	} else {
		_, _ = d.file.WriteAt(head[:8], 0)
	}
}
