// Package keep lets one of many processes be the keeper: the one that does for all what each could do.
//
// The keeper is whoever holds a lock of the kernel's on a file that all have open, so a keeper that dies
// is replaced at once. One that is stopped keeps its lock. So it has a beat besides, which is which one of a
// row of further locks it holds: when that stands still, the others contest a second lock, and who gets it
// stands in until the beat goes on.
//
// The locks are of the kind that belongs to an open file (F_OFD_SETLK), in a part of the file where
// nothing is written. Where there are none, each process is a keeper.
package keep

import (
	"hash/fnv"
	"os"
	"sync"
	"time"
)

const (
	// still is for how long a beat must stand still until others step in: longer than the second
	// between two calls of Try.
	still = 1400 * time.Millisecond
	// beats is the length of the row that a beat goes through.
	beats = 64
	// first is where the locks begin, and each name has this much room.
	first, room = 1 << 50, 1 << 8
)

// A Keeper is one process's part. Its methods may be called concurrently.
type Keeper struct {
	base int64

	mu   sync.Mutex
	file *os.File // that of the locks which are held
	// own is set while this process has the first lock, deputy while it has the second.
	own, deputy bool
	// beat is the place of the keeper's beat, this process's own or another's, and since is when another's was
	// seen to come there.
	beat  int64
	since time.Time
}

// New makes the part of a process among those that use the same name.
func New(name string) *Keeper {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return &Keeper{base: first + int64(h.Sum32())*room}
}

// Try reports whether this process is the keeper now. It is to be called once a second, with the file
// that all have open: another one than before has its locks taken anew.
func (k *Keeper) Try(f *os.File) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f != k.file {
		k.file, k.own, k.deputy, k.since = f, false, false, time.Time{}
	}
	keeper, err := k.try()
	return keeper || err != nil
}

func (k *Keeper) try() (bool, error) {
	if !k.own {
		got, err := lock(k.file, k.base)
		if err != nil {
			return false, err
		}
		if k.own = got; !got {
			return k.standIn()
		}
		k.beat = 0
	}
	if err := k.resign(); err != nil {
		return false, err
	}
	next := k.beat%beats + 1
	if _, err := lock(k.file, k.base+1+next); err != nil {
		return false, err
	}
	if k.beat > 0 {
		if err := unlock(k.file, k.base+1+k.beat); err != nil {
			return false, err
		}
	}
	k.beat = next
	deputy, err := held(k.file, k.base+1, 1)
	return deputy == 0, err
}

// standIn is try while another process has the first lock.
func (k *Keeper) standIn() (bool, error) {
	beat, err := held(k.file, k.base+2, beats)
	if err != nil {
		return false, err
	}
	now := time.Now()
	if beat != k.beat || k.since.IsZero() {
		k.beat, k.since = beat, now
		return false, k.resign()
	}
	if !k.deputy && now.Sub(k.since) >= still {
		k.deputy, err = lock(k.file, k.base+1)
	}
	return k.deputy, err
}

// resign lets the second lock go.
func (k *Keeper) resign() error {
	if !k.deputy {
		return nil
	}
	k.deputy = false
	return unlock(k.file, k.base+1)
}
