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
)

// A side is the file that all processes of this user on this machine share for one store. Its locks elect the
// keeper. Its content is the bell, which spares light peers to ask the database whether others have changed what
// they run: who changes it, or the keeper, which listens for all of them, notes that there.
//
// The file begins with the time at which the keeper last knew that it had noted everything (by CLOCK_BOOTTIME, in
// nanoseconds), a number that changes when every runner's records may have changed, and that of the turns. From firstWord on it has a
// number for each hash of a runner's id.
type side struct {
	mu     sync.Mutex
	name   string   // "" if there is no such file: then each peer is a keeper
	file   *os.File // nil until it is first needed
	keeper *keep.Keeper
	keeps  bool // this process is the keeper
	// unrung is set until this process, as the new keeper, has rung for all runners: nobody may have rung for what
	// changed before. asked is when it last asked whether it is the keeper.
	unrung bool
	asked  time.Time
}

const (
	words, firstWord = 4096, 64
	// ringEvery is how often the keeper notes that it is there, and reads what has changed if it can't listen.
	ringEvery = 500 * time.Millisecond
	// fresh is how long the bell can be trusted after that. A keeper that doesn't ask for so long is none.
	fresh = 3 * ringEvery
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
	d.unrung, d.asked = d.unrung || !was, time.Now()
	if d.keeps {
		s.startRinging()
	}
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

// identify sets the file's name.
func (d *side) identify(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.name = name
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

// ring notes for runners that others have changed what they run.
func (d *side) ring(runners []string) {
	if len(runners) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil && !d.open() {
		return
	}
	for _, id := range runners {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], rand.Uint64()) // another number than all before, whoever writes it
		_, _ = d.file.WriteAt(word[:], wordOf(id))
	}
}

// isKeeper reports whether this process is the keeper.
func (d *side) isKeeper() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keeps && d.file != nil && time.Since(d.asked) < 2*fresh
}

// beat notes that the keeper has rung for everything that had changed at a time. If all is set, or if it has just
// become the keeper, it rings for all runners.
func (d *side) beat(at time.Duration, all bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.keeps || d.file == nil {
		return
	}
	var head [16]byte
	binary.LittleEndian.PutUint64(head[:8], uint64(at))
	binary.LittleEndian.PutUint64(head[8:], rand.Uint64())
	if all || d.unrung {
		d.unrung = false
		_, _ = d.file.WriteAt(head[:], 0)
	} else {
		_, _ = d.file.WriteAt(head[:8], 0)
	}
}
