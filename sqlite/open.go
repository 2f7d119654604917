package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/fault"
)

// openFile opens the file at path, and creates it if it doesn't exist. known is the latest mark of the
// files that were at path before, so that no seq is used twice.
func openFile(ctx context.Context, path string, size size, known mark) (f *file, err error) {
	for {
		takeWake(path)
		r, err := rightsFor(path)
		if err != nil {
			return nil, err
		}
		f, err = inTime(ctx, path, func() (f *file, err error) {
			err = r.do(func() error {
				f, err = openWith(ctx, path, size, r, known)
				return err
			})
			return f, r.explain(err)
		})
		if !errors.Is(err, errMoved) || ctx.Err() != nil {
			return f, err
		}
	}
}

// slowly is how long opening may take, from when its context has ended, on a machine with too much to do.
const slowly = time.Minute

// inTime calls open, which opens path, in a goroutine, and stops waiting for it a moment after ctx has ended: if
// somebody has put a named pipe at the path, opening it blocks until a process opens its other end. If the time is over
// and there is no pipe, the machine may be slow, and inTime goes on waiting.
func inTime(ctx context.Context, path string, open func() (*file, error)) (*file, error) {
	type result struct {
		*file
		err error
	}
	opened := make(chan result, 1)
	go func() {
		var r result
		if p := fault.From(ctx).Try(func() { r.file, r.err = open() }); p != nil {
			r.err = p
		}
		opened <- r
	}()
	select {
	case r := <-opened:
		return r.file, r.err
	case <-ctx.Done():
	}
	look := time.NewTicker(shortly)
	defer look.Stop()
	for began, goesOn := time.Now(), true; goesOn; {
		select {
		case r := <-opened:
			return r.file, r.err
		case now := <-look.C:
			goesOn = errors.Is(ctx.Err(), context.DeadlineExceeded) && now.Sub(began) < slowly && !anyPipe(path)
		}
	}
	go func() {
		if r := <-opened; r.file != nil {
			_ = r.close(context.Background())
		}
	}()
	return nil, fmt.Errorf("%w: opening it takes too long: check whether it, or its -wal or -shm, is a named pipe", kapi.ErrUnavailable)
}

// anyPipe reports whether the store at path, or a file beside it, is something that may block who opens it.
func anyPipe(path string) bool {
	return slices.ContainsFunc(append(sqliteSides(), "", wakeName, runnersName), func(end string) bool {
		info, err := os.Lstat(path + end)
		return err == nil && !info.Mode().IsRegular()
	})
}

func openWith(ctx context.Context, path string, size size, r rights, known mark) (_ *file, err error) {
	f := newFile(path, size)
	f.rights, f.known = r, known
	if err := f.find(networkFileSystem); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.closeAll()
		}
	}()
	leave, err := f.pass(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if now, err := factsOf(path); err != nil || !now.same(f.facts) { // that may have taken long
		return nil, errMoved
	}
	if err := checkSides(path, f.facts); err != nil {
		return nil, err
	}
	if err := f.checkPair(ctx); err != nil {
		return nil, err
	}
	if err := recognise(ctx, path); err != nil {
		return nil, err
	}
	if err := f.fill(ctx, size); err != nil {
		return nil, err
	}
	return f, nil
}

// pass opens the wake file, if that exists or nothing is in the store yet, and waits there until this process may go on.
// Beside another program's file none must be created.
func (f *file) pass(ctx context.Context) (leave func(), err error) {
	n := gates
	if _, err := os.Lstat(f.path + wakeName); !queues || err != nil && f.facts.size > 0 {
		return func() {}, nil
	}
	if f.facts.size == 0 {
		n = 1
	}
	if f.wake, err = openWake(f.path, f.facts, f.rights); err != nil {
		return nil, err
	}
	return f.wake.pass(ctx, n)
}

// fill opens the connections, and makes the store ready for them.
func (f *file) fill(ctx context.Context, size size) error {
	writer, err := f.connect(ctx)
	if err != nil {
		return err
	}
	if f.wake == nil {
		if f.wake, err = openWake(f.path, f.facts, f.rights); err != nil {
			return err
		}
	}
	if err := f.prepare(ctx, writer); err != nil {
		return err
	}
	if err := f.dressSides(); err != nil {
		return err
	}
	f.writer <- writer
	for range size.readers {
		c, err := f.connect(ctx)
		if err != nil {
			return err
		}
		c.SetBusyTimeout(openTimeout)
		f.reader <- c
	}
	return nil
}
