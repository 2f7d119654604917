package sqlite

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
)

// Opening a store takes more of a processor than most writes do. If a thousand processes did it at the same time, the
// one whose turn it is to write would hardly get any. So only as many open a store at once as there are processors to
// do it, and only one while there is nothing in it yet. The others wait at a gate.

// gates is how many may open a store at once.
var gates = max(2, runtime.GOMAXPROCS(0))

// pass waits at one of n gates until this process may open the store, or should stop waiting (see queue), or the time of
// ctx is over. The caller must call leave when the store is open.
func (w *wakeFile) pass(ctx context.Context, n int) (leave func(), err error) {
	q := newQueue(w.file.Load(), w.store)
	if q == nil {
		return func() {}, nil
	}
	order := rand.Perm(n)
	for _, i := range order {
		q.span = gateSpan(i)
		if q.try() {
			return q.leave, nil
		}
	}
	q.span = gateSpan(order[0])
	_, err = q.enter(ctx)
	if err != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) { // a slow machine is no reason to refuse anybody
		q.leave()
		return nil, storeError(err)
	}
	return q.leave, nil
}

// try takes the turn if nobody has it. It is true, too, if there can't be one.
func (q *queue) try() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	err := q.take()
	q.held = err == nil
	return !errors.Is(err, errTaken)
}
