package linear

import (
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/postgres"
	"github.com/kettubot/kapi/sqlite"
)

// A role is what a peer does in a history.
type role string

const (
	reports role = ""       // starts actions and reports on them
	takes   role = "takes"  // offers the operations, starts them, and takes them over
	starts  role = "starts" // starts operations that it doesn't offer
)

// giveUpSoon is Options.GiveUp where operations are taken over.
const giveUpSoon = 1500 * time.Millisecond

// counting returns two operations that count, and store each number as a checkpoint. One fails in the end.
func (p *member) counting() []kapi.Definition {
	count := kapi.Definition{
		Name: "count", Title: "Counting", Resume: &kapi.Resume{Takeovers: 1000},
		Run: func(ctx context.Context, h kapi.OperationHandle, _ json.RawMessage) error {
			return p.count(ctx, h, nil)
		},
	}
	fails := count
	fails.Name = "count-and-fail"
	fails.Run = func(ctx context.Context, h kapi.OperationHandle, _ json.RawMessage) error {
		return p.count(ctx, h, errCounted)
	}
	return []kapi.Definition{count, fails}
}

var errCounted = errors.New("it has counted enough")

// steps returns how far an action counts. It is the same for each runner.
func steps(title string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(title))
	return 10 + int(h.Sum32()%150)
}

// stepPace is the average time that the work of a step takes.
const stepPace = 20 * time.Millisecond

// count is the run of an operation that returns failure in the end.
func (p *member) count(ctx context.Context, h kapi.OperationHandle, failure error) error {
	title := h.Action().StartedBy
	about := func(k kind) call { return call{Kind: k, Title: title, Fence: h.Fence()} }
	began := about(claim)
	began.ID, began.Origin, began.Runner, began.Attempt = h.ID(), h.Origin(), h.Action().Runner.ID, h.Attempt()
	p.begin(began)(&answer{})
	err := p.countOn(ctx, h, about, steps(title))
	if err == nil {
		err = failure
	}
	last := about(end)
	switch cause := context.Cause(ctx); {
	case err == nil:
		last.Status = kapi.StatusCompleted
	case !errors.Is(cause, kapi.ErrStopped) && !errors.Is(cause, kapi.ErrLost): // otherwise it is handed over
		last.Status = kapi.StatusFailed
	}
	p.begin(last) // there is no answer
	return err
}

// countOn goes on where the last runner has stopped.
func (p *member) countOn(ctx context.Context, h kapi.OperationHandle, about func(kind) call, all int) error {
	var at place
	done := p.begin(about(restore))
	has, err := h.Restore(&at)
	a := answered(err)
	if has {
		a.Found = &at
	}
	done(a)
	for err == nil && at.N < all {
		done := p.begin(about(proceed))
		err = h.Proceed(ctx)
		if done(answered(err)); err != nil {
			break
		}
		<-time.After(rand.N(2 * stepPace)) // the work: it doesn't look at its context
		at = place{at.N + 1, h.Fence()}
		c := about(save)
		c.Place = &at
		done = p.begin(c)
		err = h.Checkpoint(at)
		done(answered(err))
		h.SetProgress(float64(at.N) / float64(all))
	}
	return err
}

// startOperations starts operations until ctx ends, and looks at actions unless it is light.
func (l *lane) startOperations(ctx context.Context) {
	for ctx.Err() == nil {
		if l.titles < 4 && l.chance(60) {
			l.startOperation()
		} else if !l.light() {
			l.getAny()
		}
		select {
		case <-time.After(time.Duration(l.random.IntN(int(20 * pace)))):
		case <-ctx.Done():
		}
	}
}

func (l *lane) startOperation() {
	c := call{Kind: begin, Lane: l.n, Title: l.title(), runCall: runCall{Offers: l.Role == takes}}
	name := "count"
	if l.chance(25) {
		name = "count-and-fail"
	}
	done := l.begin(c)
	s, err := l.StartOperation(context.Background(), name, nil, kapi.StartOptions{By: c.Title})
	done(answered(err, s.Action))
	if err == nil {
		l.share(grant{s.Action.ID, c.Title, 0, false})
	}
}

// A watchedFile is a SQLite store that records when the lease is renewed.
type watchedFile struct {
	*sqlite.Store
	by *member
}

func (s *watchedFile) Renew(ctx context.Context, r store.RunnerRecord) error {
	done := s.by.begin(call{Kind: renew, runCall: runCall{Runner: r.ID}})
	err := s.Store.Renew(ctx, r)
	done(answered(err))
	return err
}

// A watchedDatabase is the same for PostgreSQL.
type watchedDatabase struct {
	*postgres.Store
	by *member
}

func (s *watchedDatabase) Renew(ctx context.Context, r store.RunnerRecord) error {
	done := s.by.begin(call{Kind: renew, runCall: runCall{Runner: r.ID}})
	err := s.Store.Renew(ctx, r)
	done(answered(err))
	return err
}

// ownProcesses gives a command a PID namespace of its own.
func ownProcesses(to *syscall.SysProcAttr) {
	to.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS
	if os.Geteuid() != 0 {
		to.Cloneflags |= syscall.CLONE_NEWUSER
		to.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		to.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
}

// showOwnProcesses makes /proc show that namespace, so that the peer can be told from those of others.
func showOwnProcesses() error {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount("proc", "/proc", "proc", 0, "")
}
