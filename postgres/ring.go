package postgres

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// A ringer makes the keeper ring for the light peers of this user on this machine. It listens for all of them: a
// commit that changes what other peers run notifies with the ids of their runners. Where it can't listen, it reads
// which runners' records have changed.
type ringer struct {
	once sync.Once
	mu   sync.Mutex
	// stop ends the ringer's own listening; nil while it doesn't listen. own is that the running Listen is its own.
	stop context.CancelFunc
	// epoch and seq are how far it has read.
	epoch string
	seq   int64
}

// rings begins the payload of a notification with the ids of runners.
const rings = "rung "

func (s *Store) startRinging() {
	s.ringer.once.Do(func() {
		s.served.Go(func() {
			tick := time.NewTicker(ringEvery)
			defer tick.Stop()
			for { // not at once: a process that asks whether it is the keeper as it ends needs no listener
				select {
				case <-tick.C:
				case <-s.closed:
					s.stopRinging()
					return
				}
				s.ringNow()
			}
		})
	})
}

// ringNow is called every ringEvery.
func (s *Store) ringNow() {
	if !s.side.isKeeper() {
		s.stopRinging()
		return
	}
	began, all := sinceBoot(), false
	if hears := s.hears.Load(); s.missed.Swap(false) || !hears {
		var err error
		if all, err = s.ringChanged(); err != nil {
			s.missed.Store(true)
			return
		}
	}
	s.side.beat(began, all)
	s.ringer.mu.Lock()
	defer s.ringer.mu.Unlock()
	if s.ringer.stop != nil || s.listeners.Load() > 0 {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	s.ringer.stop = stop
	s.served.Go(func() {
		for ctx.Err() == nil && !s.isClosed() {
			_ = s.listenFor(ctx, func() {}) // it returns an error once, when it begins to fail
		}
	})
}

// stopRinging makes the ringer stop listening.
func (s *Store) stopRinging() {
	s.ringer.mu.Lock()
	defer s.ringer.mu.Unlock()
	if s.ringer.stop != nil {
		s.ringer.stop()
		s.ringer.stop = nil
	}
}

// ringChanged rings for the runners of all actions that have changed since it was last called. all is true if
// it can't tell which have.
func (s *Store) ringChanged() (all bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), pingWithin)
	defer cancel()
	r := &s.ringer
	var runners []string
	err = s.read(ctx, func(_ *link, b *pgx.Batch) {
		b.Queue(s.sql.changed, r.seq).Query(func(rows pgx.Rows) error {
			var epoch, runner *string
			var seq int64
			runners = nil
			_, err := pgx.ForEachRow(rows, []any{&epoch, &seq, &runner}, func() error {
				if epoch != nil {
					all = *epoch != r.epoch || seq < r.seq
					r.epoch, r.seq = *epoch, seq
				} else {
					runners = append(runners, *runner)
				}
				return nil
			})
			return err
		})
	})
	if err == nil && !all {
		s.side.ring(runners)
	}
	return all, err
}

// ringHeard rings for the runners that a notification names. It is false for another notification.
func (s *Store) ringHeard(payload string) bool {
	ids, ok := strings.CutPrefix(payload, rings)
	if ok && s.side.isKeeper() {
		s.side.ring(strings.Fields(ids))
	}
	return ok
}

// tell queues the notifications that other machines' keepers ring for.
func (s *Store) tell(b *pgx.Batch, runners []string) {
	const most = 250 // a payload has less than 8000 bytes
	for len(runners) > 0 {
		n := min(len(runners), most)
		b.Queue(`SELECT pg_notify($1, $2)`, s.sql.channel, rings+strings.Join(runners[:n], " "))
		runners = runners[n:]
	}
}
