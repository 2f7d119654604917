package peer

import "sync"

// claimsAtOnce is how many actions a peer claims at once.
const claimsAtOnce = 16

// rounds try to claim actions in the background. In a round, each open action is tried once. One whose arguments take
// long to check doesn't keep the others waiting, as long as fewer than claimsAtOnce do: the next round tries them, and
// that one again when it is done.
type rounds struct {
	all sync.WaitGroup

	mu      sync.Mutex
	working int      // goroutines
	queue   []string // the actions that will be tried
	begun   map[string]trial
}

// A trial is what there is to do about an action.
type trial int

const (
	queued trial = iota + 1 // it will be tried
	trying                  // it is being tried
	again                   // it is being tried, and will be once more
)

func (r *rounds) init() { r.begun = map[string]trial{} }

// begin begins a round, and returns at once.
func (r *rounds) begin(ids []string, try func(id string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		switch r.begun[id] {
		case 0:
			r.enqueue(id)
		case trying:
			r.begun[id] = again
		}
	}
	for range min(len(r.queue), claimsAtOnce-r.working) {
		r.working++
		r.all.Go(func() {
			for id, ok := r.next(""); ok; id, ok = r.next(id) {
				try(id)
			}
		})
	}
}

func (r *rounds) enqueue(id string) {
	r.begun[id] = queued
	r.queue = append(r.queue, id)
}

// next returns the next action to try, after another one was tried ("" is none).
func (r *rounds) next(tried string) (id string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.begun[tried] == again {
		r.enqueue(tried)
	} else {
		delete(r.begun, tried)
	}
	if len(r.queue) == 0 {
		r.working--
		return "", false
	}
	id, r.queue = r.queue[0], r.queue[1:]
	r.begun[id] = trying
	return id, true
}

// wait waits until all that was begun has been tried.
func (r *rounds) wait() { r.all.Wait() }
