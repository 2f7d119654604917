// Package keep elects a keeper among many processes: the one that does for all of them what each could do.
//
// The keeper is the process that holds a kernel lock on a file that all have open, so a keeper that dies is
// replaced at the next call of [Keeper.Try]. A keeper that is stopped doesn't lose its lock. So it also
// shows a beat: it moves through a row of further locks, one at each call. If the beat stops, the other
// processes contest a second lock, and the one that gets it is the deputy, which acts as the keeper until
// the beat resumes.
//
// The locks are open file description locks (F_OFD_SETLK), in a part of the file where nothing is written.
// Where the system has no such locks, each process is a keeper.
package keep

import (
	"hash/fnv"
	"os"
	"sync"
	"time"
)

const (
	// still is how long a beat must have stopped before a deputy acts: more than the second between two
	// calls of Try.
	still = 1400 * time.Millisecond
	// outstays is how long a deputy may have the second lock while the keeper's beat goes on. A deputy that
	// has it for longer is stopped, too.
	outstays = 3 * still
	// beats is the number of locks that a beat moves through.
	beats = 64
	// first is the offset of the locks, and room the number of bytes for each name.
	first, room = 1 << 50, 1 << 8
)

// A Keeper is one process's part in the election. Its methods may be called concurrently.
type Keeper struct {
	base int64

	mu   sync.Mutex
	file *os.File // the file with the locks
	// own is true while this process has the first lock, deputy while it has the second.
	own, deputy bool
	// beat is the position of the keeper's beat, and since is when this process first saw another keeper's
	// beat there. For the keeper, since is when it first saw that there is a deputy.
	beat  int64
	since time.Time
	tried time.Time // when the keeper last tried
}

// New returns a Keeper for the election among the processes that use the same name.
func New(name string) *Keeper {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return &Keeper{base: first + int64(h.Sum32())*room}
}

// Try reports whether this process is the keeper, or its deputy, now. It must be called once a second, with
// the file that all processes have open. If that is another file than at the last call, the election
// starts over. If the locks fail, Try returns true.
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
		k.beat, k.since = 0, time.Time{}
	}
	if err := k.resign(); err != nil {
		return false, err
	}
	next := k.beat%beats + 1
	if _, err := lock(k.file, k.base+1+next); err != nil {
		return false, err
	}
	if k.beat > 0 {
		if err := unlock(k.file, k.base+1+k.beat, 1); err != nil {
			return false, err
		}
	}
	k.beat = next
	deputy, err := held(k.file, k.base+1, 1)
	return deputy == 0 || k.outstayed(), err
}

// outstayed reports whether the deputy has had the second lock for so long, while this keeper's beat went on,
// that it must be stopped. It is called at each try while there is a deputy.
func (k *Keeper) outstayed() bool {
	now := time.Now()
	if k.since.IsZero() || now.Sub(k.tried) >= still { // the beat had stopped
		k.since = now
	}
	k.tried = now
	return now.Sub(k.since) >= outstays
}

// Yield releases the locks, until the next call of Try. A process calls it before it stops itself.
func (k *Keeper) Yield() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file != nil {
		_ = unlock(k.file, k.base, 2+beats)
	}
	k.own, k.deputy, k.since = false, false, time.Time{}
}

// standIn is try while another process has the first lock. It makes this process the deputy if the beat has
// stopped.
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

// resign releases the second lock.
func (k *Keeper) resign() error {
	if !k.deputy {
		return nil
	}
	k.deputy = false
	return unlock(k.file, k.base+1, 1)
}
