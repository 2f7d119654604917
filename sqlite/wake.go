package sqlite

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/kettubot/kapi"
)

// The WAL is written before its content is visible, so watching that would miss
// commits. Every process therefore writes its commit's mark to the wake file afterwards,
// and watches it for the others'.

// wakePoll is how often the wake file is looked at where it can't be watched (the
// system's watches may be used up).
const wakePoll = 25 * time.Millisecond

// A mark is the head after a commit.
type mark struct {
	epoch string
	seq   uint64
}

const markLength = 64

type wakeFile struct{ *os.File }

func openWake(path string) (*wakeFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", kapi.ErrUnavailable, err)
	}
	return &wakeFile{f}, nil
}

// touch wakes the others. The content only serves to recognise a file that was put back
// to an earlier time.
func (w *wakeFile) touch(m mark) {
	line := fmt.Sprintf("%-*s\n", markLength-1, m.epoch+" "+strconv.FormatUint(m.seq, 10))
	_, _ = w.WriteAt([]byte(line), 0) // if it fails (a full disk), the others' slow poll sees the commit
}

// read returns the last mark, or a zero one.
func (w *wakeFile) read() mark {
	buf := make([]byte, markLength)
	n, _ := w.ReadAt(buf, 0)
	epoch, seq, _ := strings.Cut(strings.TrimSpace(string(buf[:n])), " ")
	number, err := strconv.ParseUint(seq, 10, 63)
	if err != nil {
		return mark{}
	}
	return mark{epoch, number}
}

// Listen calls wake after each commit of any process, several commits at once maybe.
func (s *Store) Listen(ctx context.Context, wake func()) error {
	if s.wake == nil {
		<-ctx.Done()
		return nil
	}
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		defer watcher.Close()
		err = watcher.Add(s.wake.Name())
	}
	if err != nil {
		return s.pollWake(ctx, wake)
	}
	wake() // for what was committed before the watch began
	for {
		select {
		case event, ok := <-watcher.Events:
			if !ok {
				return nil
			}
			wake()
			if event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename) {
				return fmt.Errorf("%s was removed", s.wake.Name())
			}
		case err := <-watcher.Errors:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// pollWake looks at the wake file's time of change.
func (s *Store) pollWake(ctx context.Context, wake func()) error {
	tick := time.NewTicker(wakePoll)
	defer tick.Stop()
	var last time.Time
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		info, err := s.wake.Stat()
		if err != nil {
			return err
		}
		if at := info.ModTime(); !at.Equal(last) {
			last = at
			wake()
		}
	}
}
