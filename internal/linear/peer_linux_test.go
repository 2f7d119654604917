package linear

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/postgres"
	"github.com/kettubot/kapi/sqlite"
)

const (
	peers = 8
	lanes = 2 // callers per peer, so that there is something to group
	// lease is the shortest possible, so that a peer falls silent when it is frozen for a moment.
	lease = time.Second
	// giveUp is never reached: nothing may fail for silence.
	giveUp = time.Hour
	// storeTimeout is short, so that calls during an outage are answered within a history.
	storeTimeout = 2 * time.Second
)

// settings are passed to a peer's process.
type settings struct {
	Store  string // a DSN
	Schema string // in a database
	Name   string // of this process, unique in the history
	Seed   uint64
	Fences string // the file with which peers share their fences
	Bug    bug
	Role   role
	// Host is set for a peer on a host of its own, as far as its processes go: nobody else can see whether it lives.
	Host bool
}

// A member is one peer of a history, in a process of its own.
type member struct {
	settings
	*peer.Peer
	fences *fences

	mu  sync.Mutex
	out *json.Encoder
	n   int
}

// peerMain makes calls until its standard input ends.
func peerMain(text string) error {
	var s settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	if s.Host {
		if err := showOwnProcesses(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	eof := make(chan error, 1)
	go func() { // ends with the process at the latest
		_, err := io.Copy(io.Discard, os.Stdin)
		cancel()
		eof <- err
	}()
	fences, err := openFences(s.Fences)
	if err != nil {
		return err
	}
	defer fences.file.Close()
	p := &member{settings: s, fences: fences, out: json.NewEncoder(os.Stdout)}
	if p.Peer, err = p.open(ctx); err != nil || p.Peer == nil {
		return err
	}
	var all sync.WaitGroup
	for i := range lanes {
		l := newLane(p, i)
		switch {
		case s.Role == reports:
			all.Go(func() { l.work(ctx) })
		case i == 0:
			all.Go(func() { l.startOperations(ctx) })
		}
	}
	err = <-eof
	all.Wait()
	return errors.Join(err, p.Close())
}

// open opens the store, retrying while it is down. It returns nil if ctx ends first.
func (p *member) open(ctx context.Context) (*peer.Peer, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	options := peer.Options{Logger: log, Lease: lease, GiveUp: giveUp, StoreTimeout: storeTimeout}
	if p.Role != reports {
		options.GiveUp = giveUpSoon
	}
	if p.Role == takes {
		options.Operations = p.counting()
	}
	for ctx.Err() == nil {
		k, err := p.openOnce(ctx, options)
		if err == nil {
			return k, nil
		}
		if !errors.Is(err, kapi.ErrUnavailable) && ctx.Err() == nil {
			return nil, err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return nil, nil
}

func (p *member) openOnce(ctx context.Context, options peer.Options) (*peer.Peer, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*storeTimeout)
	defer cancel()
	store, err := p.openStore(ctx)
	if err != nil {
		return nil, err
	}
	return peer.Open(ctx, p.Bug.in(store), options)
}

// openStore opens a store by its DSN. If operations are taken over, it records when the lease is renewed.
func (p *member) openStore(ctx context.Context) (peer.Store, error) {
	if path, ok := strings.CutPrefix(p.Store, "sqlite:"); ok {
		s, err := sqlite.Open(path)
		if err != nil || p.Role != takes {
			return s, err
		}
		return &watchedFile{s, p}, nil
	}
	s, err := postgres.Open(ctx, p.Store, postgres.Options{Schema: p.Schema})
	if err != nil || p.Role != takes {
		return s, err
	}
	return p.Bug.inDatabase(&watchedDatabase{s, p}), nil
}

// begin reports that a call begins; the function it returns reports the answer and must be called right
// after the call. The time is taken before the first line is written and after the call has returned,
// so a call is never reported as shorter than it was. And whatever a killed process has done, it has
// reported as begun.
func (p *member) begin(c call) func(*answer) {
	at := now()
	p.mu.Lock()
	p.n++
	n := p.n
	p.mu.Unlock()
	p.emit(line{N: n, At: at, Call: &c})
	return func(a *answer) { p.emit(line{N: n, At: now(), Answer: a}) }
}

func (p *member) emit(l line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.out.Encode(l); err != nil { // one write
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
