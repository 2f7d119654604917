package sqlite

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// The WAL is written before a commit is visible, so a process that watched the WAL would miss commits.
// Instead every process writes a mark to the wake file after its commit, and watches that file for the
// marks of others.

// wakePoll is how often the wake file is read while it isn't watched yet, or if it can't be watched (the
// system's watches may be used up).
const wakePoll = 25 * time.Millisecond

// watchAfter is how long the wake file is polled before it is watched: the kernel takes about ten
// milliseconds to remove a watch, which short-lived processes should not have to pay.
const watchAfter = time.Second

// A mark is the epoch and the seq after a commit.
type mark struct {
	epoch string
	seq   uint64
}

const markLength = 64

// text returns the content of the wake file.
func (m mark) text() string {
	return fmt.Sprintf("%-*s\n", markLength-1, m.epoch+" "+strconv.FormatUint(m.seq, 10))
}

type wakeFile struct {
	store  string // its path
	path   string
	like   facts // of the store
	rights rights
	file   atomic.Pointer[os.File]
	queue  atomic.Pointer[queue] // on that file; nil if there can't be one
}

func openWake(store string, like facts, r rights) (*wakeFile, error) {
	w := &wakeFile{store: store, path: store + wakeName, like: like, rights: r}
	if err := w.open(); err != nil {
		return nil, err
	}
	return w, nil
}

// open opens the file at the path, creates it if it doesn't exist, and closes the one before.
func (w *wakeFile) open() error {
	var f *os.File
	err := w.rights.do(func() (err error) {
		f, err = openSide(w.store, wakeName, w.like)
		return err
	})
	if err != nil {
		return fmt.Errorf("%w: %s: %w", kapi.ErrUnavailable, w.path, bare(err))
	}
	w.queue.Store(newQueue(f, w.store))
	if old := w.file.Swap(f); old != nil {
		_ = old.Close() // a goroutine that waits for the turn there keeps it open meanwhile
	}
	return nil
}

// turns returns the queue for writing, nil if there is none.
func (w *wakeFile) turns() *queue {
	if w == nil {
		return nil
	}
	return w.queue.Load()
}

func (w *wakeFile) Close() error { return w.file.Load().Close() }

// inPlace returns an error if the file was removed or replaced. Then this process and those that open the
// store afterwards wouldn't notice each other's commits.
func (w *wakeFile) inPlace() error {
	mine, err := w.file.Load().Stat()
	if err != nil {
		return err
	}
	if there, err := os.Lstat(w.path); err != nil || !os.SameFile(mine, there) {
		return fmt.Errorf("%s was removed", w.path)
	}
	return nil
}

// touch wakes the other processes. The mark only serves to recognise a store that was put back to an
// earlier time.
func (w *wakeFile) touch(m mark) {
	_, _ = w.file.Load().WriteAt([]byte(m.text()), 0) // if it fails (a full disk), the others' slow poll sees the commit
}

// read returns the last mark, a zero one if the file has no valid mark.
func (w *wakeFile) read() mark {
	if w == nil {
		return mark{}
	}
	buf := make([]byte, markLength)
	n, _ := w.file.Load().ReadAt(buf, 0)
	return parseMark(buf[:n])
}

func parseMark(text []byte) mark {
	epoch, seq, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	number, err := strconv.ParseUint(seq, 10, 63)
	if err != nil || number > highestSeq || !store.IsID(epoch) {
		return mark{}
	}
	return mark{epoch, number}
}

// Listen implements store.Store. It may call wake once for several commits.
func (s *Store) Listen(ctx context.Context, wake func()) error {
	if s.path == "" {
		select {
		case <-ctx.Done():
			return nil
		case <-s.closed:
			return errClosed
		}
	}
	f, err := s.keepWake(ctx)
	if err != nil {
		return s.fail(err)
	}
	if goesOn, err := s.pollWake(ctx, f, wake, time.After(s.watchAfter)); !goesOn {
		return err
	}
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		defer watcher.Close()
		err = watcher.Add(f.wake.path)
	}
	if err != nil {
		_, err := s.pollWake(ctx, f, wake, nil)
		return err
	}
	wake() // for what was committed before the watch began
	for {
		select {
		case event, ok := <-watcher.Events:
			if !ok {
				return nil
			}
			wake()
			if event.Op == fsnotify.Write {
				continue
			}
			// Removing a file that is still open only changes its attributes.
			if err := f.wake.inPlace(); err != nil {
				wake() // the store may be gone, too
				return s.fail(err)
			}
		case err := <-watcher.Errors:
			return err
		case <-f.shutting:
			return s.over(wake)
		case <-ctx.Done():
			return nil
		}
	}
}

// over returns the error with which Listen ends when its file is being closed.
func (s *Store) over(wake func()) error {
	select {
	case <-s.closed:
		return s.fail(errClosed)
	default:
		wake() // there may be another file with new changes
		return s.fail(errMoved)
	}
}

// keepWake returns the current file, and creates its wake file again if that was removed. It does so under
// the write lock, so that the wake file gets the latest mark before another process opens the store.
func (s *Store) keepWake(ctx context.Context) (*file, error) {
	f, err := s.current(ctx, false, true)
	if err != nil || f.wake.inPlace() == nil {
		return f, err
	}
	_, err = s.writeIn(ctx, func(now *file, c *sqlite.Conn) (bool, error) {
		f = now
		head, err := readHead(c)
		if err == nil {
			err = f.wake.open()
		}
		if err == nil {
			f.wake.touch(mark{head.Epoch, head.Seq})
		}
		return false, err
	})
	return f, err
}

// pollWake reads the wake file every wakePoll and calls wake when it has changed. goesOn is true if it
// stopped because of end.
func (s *Store) pollWake(ctx context.Context, f *file, wake func(), end <-chan time.Time) (goesOn bool, err error) {
	tick := time.NewTicker(wakePoll)
	defer tick.Stop()
	var last mark
	for {
		select {
		case <-tick.C:
		case <-end:
			return true, nil
		case <-f.shutting:
			return false, s.over(wake)
		case <-ctx.Done():
			return false, nil
		}
		if err := f.wake.inPlace(); err != nil {
			wake() // the store may be gone, too
			return false, s.fail(err)
		}
		if now := f.wake.read(); now != last {
			last = now
			wake()
		}
	}
}
