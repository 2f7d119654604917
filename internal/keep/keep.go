// Package keep elects a keeper among many processes: the one that does for all of them what each could do.
//
// The keeper is the process that holds a kernel lock on a file that all have open, so a keeper that dies is
// replaced at the next call of [Keeper.Try]. A keeper that is stopped doesn't lose its lock. So it also
// shows a beat: it moves through a row of further locks, one at each call. If the beat stops, the other
// processes contest the lock of the next post, and the one that gets it, the deputy, acts as the keeper until
// the earlier beat resumes. A deputy has a beat, too, so one that is stopped is replaced in the same way.
//
// A keeper that continues acts at once, and its deputy learns of that by its next call of Try, so a process must
// call Try before it writes. What two keepers do at once must be as right as what one does: for a moment there
// may be two, for example if the keeper gets no processor for longer than a beat.
//
// The locks are open file description locks (F_OFD_SETLK), in a part of the file where nothing is written.
// Where the system has no such locks, each process is a keeper.
package keep

import (
	"errors"
	"hash/fnv"
	"os"
	"sync"
	"time"
)

const (
	// posts is the number of posts: the keeper's, and those of deputies, each of which stands in for all
	// before it. If the processes at all posts are stopped, each other process is a keeper.
	posts = 8
	// beats is the number of locks that a beat moves through.
	beats = 64
	// still is how long a beat must have stopped before others act: more than the second between two
	// calls of the keeper, and less than the time between two calls of the others, so that one look is enough.
	still = 1400 * time.Millisecond
	// absence is the time between two calls of Try after which a process trusts nothing that it saw before.
	// A beat takes longer to return to the same position.
	absence = 10 * time.Second
	// first is the offset of the locks, and room the number of bytes for each name: a byte for each post, then
	// the beats of the first post, and so on.
	first, room = 1 << 50, 1 << 10
)

// A Keeper is one process's part in the election. Its methods may be called concurrently.
type Keeper struct {
	base int64

	mu   sync.Mutex
	file *os.File // the file with the locks
	// post is the post that this process has, none if it has none, and beat is the position of its beat.
	post, beat int64
	// seen is what this process has seen of the others' beats, by post.
	seen  [posts]sight
	tried time.Time
}

const none = posts

// A sight is the position of a beat, and when it was first seen there.
type sight struct {
	beat  int64
	since time.Time
}

// New returns a Keeper for the election among the processes that use the same name.
func New(name string) *Keeper {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return &Keeper{base: first + int64(h.Sum32())*room, post: none}
}

// Try reports whether this process is the keeper, or acts as such, now. It must be called once a second while it
// returns true, otherwise every one or two seconds, with the file that all processes have open. If that is another
// file than at the last call, the election starts over. If the locks fail, Try returns true.
func (k *Keeper) Try(f *os.File) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f != k.file {
		k.file, k.post = f, none
		clear(k.seen[:])
	}
	now := time.Now()
	if now.Sub(k.tried) >= absence {
		clear(k.seen[:])
	}
	k.tried = now
	keeper, err := k.try(now)
	return keeper || err != nil
}

// try goes through the posts until it finds one that it can take, or one whose beat goes on.
func (k *Keeper) try(now time.Time) (bool, error) {
	for post := range int64(posts) {
		if mine, err := k.take(post); err != nil {
			return false, err
		} else if mine {
			return true, k.moveBeat()
		}
		if goesOn, err := k.goesOn(post, now); err != nil {
			return false, err
		} else if goesOn {
			return false, errors.Join(k.watchAfter(post, now), k.resign())
		}
	}
	return true, nil
}

// take takes a post, if no other process has it, instead of the one that this process has.
func (k *Keeper) take(post int64) (mine bool, err error) {
	if post == k.post {
		return true, nil
	}
	got, err := lock(k.file, k.base+post)
	if err != nil || !got {
		return false, err
	}
	err = k.resign()
	k.post, k.beat = post, 0
	return true, err
}

func (k *Keeper) moveBeat() error {
	row := k.beats(k.post) - 1
	next := k.beat%beats + 1
	if _, err := lock(k.file, row+next); err != nil {
		return err
	}
	last := k.beat
	k.beat = next
	if last == 0 {
		return nil
	}
	return unlock(k.file, row+last, 1)
}

// beats returns the offset of a post's beats.
func (k *Keeper) beats(post int64) int64 { return k.base + posts + post*beats }

// goesOn reports whether the beat of another process's post goes on.
func (k *Keeper) goesOn(post int64, now time.Time) (bool, error) {
	beat, err := held(k.file, k.beats(post), beats)
	s := &k.seen[post]
	if beat != s.beat || s.since.IsZero() {
		*s = sight{beat, now}
	}
	return now.Sub(s.since) < still, err
}

// watchAfter watches the later posts, so that this process knows which beats have stopped once it needs to.
func (k *Keeper) watchAfter(post int64, now time.Time) error {
	for next := post + 1; next < posts; next++ {
		if others, err := held(k.file, k.base+next, posts-next); err != nil || others == 0 {
			clear(k.seen[next:])
			return err
		}
		if _, err := k.goesOn(next, now); err != nil {
			return err
		}
	}
	return nil
}

// Yield releases the locks, until the next call of Try. A process calls it before it stops itself.
func (k *Keeper) Yield() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file != nil {
		_ = unlock(k.file, k.base, room)
	}
	k.post = none
	clear(k.seen[:])
}

// resign gives up this process's post, if it has one.
func (k *Keeper) resign() error {
	if k.post == none {
		return nil
	}
	post := k.post
	k.post = none
	return errors.Join(unlock(k.file, k.base+post, 1), unlock(k.file, k.beats(post), beats))
}
