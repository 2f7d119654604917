package auth

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// lookUpsASecond is how many unproven tokens are looked up individually each second. Above that,
	// requests share readings of all tokens.
	lookUpsASecond = 50
	// readEvery is the shortest time between the starts of two readings.
	readEvery = 20 * time.Millisecond
	// readWithin bounds a reading, because several requests wait for it.
	readWithin = 5 * time.Second
	// rest is the pause after a reading, in multiples of the reading's duration. So readings keep the
	// store busy for at most a tenth of the time, however many tokens there are.
	rest = 9
)

// A roster looks up tokens that may be guesses. A flood of wrong tokens neither keeps the store busy nor
// locks out a valid one, because requests share the work instead of a limit.
type roster struct {
	tokens Tokens

	mu     sync.Mutex
	second time.Time
	spent  int      // individual look-ups since second
	next   *reading // has not begun; nil if no request waits for one
	last   *reading // nil if there is none, or it was voided
	voided int      // calls of void

	turn    sync.Mutex // held while reading
	resting time.Time  // when the next reading may begin; guarded by turn
}

// A reading has all tokens, as read after began. A token that it lacks is unknown only for requests from
// before it began, because later ones may have a newer token.
type reading struct {
	began time.Time
	done  chan struct{}
	of    map[string]Token
	err   error
}

// find does what Tokens.FindToken does. The token is as it was at asOf or later.
func (r *roster) find(ctx context.Context, id string) (t Token, asOf time.Time, err error) {
	now := time.Now()
	if r.mayLookUp(now) {
		t, err = r.tokens.FindToken(ctx, id)
		return t, now, err
	}
	all, first := r.join(id, now)
	if first {
		r.read(ctx, all)
	}
	select {
	case <-all.done:
	case <-ctx.Done():
		return t, now, context.Cause(ctx)
	}
	if all.err != nil {
		return t, now, all.err
	}
	t, ok := all.of[id]
	if !ok {
		return t, now, ErrUnknownToken
	}
	return t, all.began, nil
}

func (r *roster) mayLookUp(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.second) >= time.Second {
		r.second, r.spent = now, 0
	}
	r.spent++
	return r.spent <= lookUpsASecond
}

// join returns the last reading if it is fresh and has the token, and the next one otherwise. The first
// caller to join the next reading has to make it.
func (r *roster) join(id string, now time.Time) (all *reading, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last != nil && now.Sub(r.last.began) < cacheFor {
		if _, ok := r.last.of[id]; ok {
			return r.last, false
		}
	}
	if r.next == nil {
		r.next, first = &reading{done: make(chan struct{})}, true
	}
	return r.next, first
}

// read makes a reading when it is its turn. It doesn't stop when the client that caused it disconnects,
// because others wait for it too.
func (r *roster) read(ctx context.Context, all *reading) {
	defer close(all.done)
	r.turn.Lock()
	defer r.turn.Unlock()
	time.Sleep(time.Until(r.resting))
	r.mu.Lock()
	r.next = nil // later requests may have a token that this reading misses
	voided := r.voided
	r.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readWithin)
	defer cancel()
	all.began = time.Now()
	all.err = fmt.Errorf("read all tokens: %w", context.Canceled) // in case Tokens panics
	tokens, err := r.tokens.Tokens(ctx)
	all.err = err
	all.of = make(map[string]Token, len(tokens))
	for _, t := range tokens {
		all.of[t.ID] = t
	}
	took := time.Since(all.began)
	r.resting = time.Now().Add(max(readEvery-took, rest*took))

	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && r.voided == voided {
		r.last = all
	}
}

// void makes sure that no earlier reading is used again, after a token was removed.
func (r *roster) void() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = nil
	r.voided++
}
