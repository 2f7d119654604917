package peer

import (
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// Operations are those that this process runs, from before their start until their end is reported.
type operations struct {
	runner string // this process's id
	log    *slog.Logger
	renew  func() // renews the lease now

	mu      sync.Mutex
	running map[string]*handle
	work    runnerWork              // of those that run commands
	unsaid  map[string]rules.Report // ends that the store could not take (Options.EndTimeout)
	lost    map[string]store.Record // what runs here and is missing from the store's history
	closing bool

	// unconfirmed are starts that were refused, or no longer waited for, and may have been made all the
	// same.
	unconfirmed map[string]struct{}
	ongoing     sync.WaitGroup
}

func (o *operations) init(runner string, log *slog.Logger, renew func()) {
	o.runner, o.log, o.renew = runner, log, renew
	o.running = map[string]*handle{}
	o.unsaid = map[string]rules.Report{}
	o.lost = map[string]store.Record{}
	o.unconfirmed = map[string]struct{}{}
}

// register makes the handle known before its action is, so that no change of the action
// is missed.
func (o *operations) register(h *handle) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		return kapi.ErrClosed
	}
	o.ongoing.Add(1)
	o.running[h.id] = h
	return nil
}

func (o *operations) unregister(h *handle) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.running, h.id)
	delete(o.work, h.id)
	o.ongoing.Done()
}

// get returns the handle of an action, nil if this process doesn't run it.
func (o *operations) get(id string) *handle {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.running[id]
}

func (o *operations) has(id string) bool { return o.get(id) != nil }

// ids returns others, and those of all that this process runs or may have started.
func (o *operations) ids(others []string) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := others
	for id := range o.running {
		all = append(all, id)
	}
	for id := range o.unconfirmed {
		all = append(all, id)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// doubt notes that nobody knows whether an action was started.
func (o *operations) doubt(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unconfirmed[id] = struct{}{}
}

// settled forgets that.
func (o *operations) settled(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.unconfirmed, id)
}

// anyDoubt reports whether there are such.
func (o *operations) anyDoubt() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.unconfirmed) > 0
}

func (o *operations) all() []*handle {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Collect(maps.Values(o.running))
}

// close lets no more begin. It is false if that was done before.
func (o *operations) close() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	was := o.closing
	o.closing = true
	return !was
}

func (o *operations) isClosing() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closing
}

// await waits for the operations, and for the grace period at most.
func (o *operations) await(limit time.Duration) {
	if limit < 0 {
		return
	}
	done := make(chan struct{})
	go func() { // ends with the last operation, which may be long after Close
		o.ongoing.Wait()
		close(done)
	}()
	grace := time.NewTimer(limit)
	defer grace.Stop()
	select {
	case <-done:
	case <-grace.C:
	}
}

// recordWork notes the processes of an action.
func (o *operations) recordWork(id string, w proc.Work) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.work == nil {
		o.work = runnerWork{}
	}
	o.work[id] = w
}

// recordedWork is what the store keeps of the processes.
func (o *operations) recordedWork() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.work) == 0 {
		return ""
	}
	work, err := json.Marshal(o.work)
	if err != nil {
		panic(err) // it has nothing that can't be encoded
	}
	return string(work)
}

// leaveUnsaid leaves an end that the store could not take to the sweeper.
func (o *operations) leaveUnsaid(id string, rep rules.Report) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unsaid[id] = rep
}

// said returns the end of an action that the store could not take.
func (o *operations) said(id string) (rep rules.Report, ended bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	rep, ended = o.unsaid[id]
	return rep, ended
}

// leftUnsaid returns the actions whose end the store could not take.
func (o *operations) leftUnsaid() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Collect(maps.Keys(o.unsaid))
}

// forgetUnsaid forgets the end of an action: it is recorded, or somebody dismissed it.
func (o *operations) forgetUnsaid(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.unsaid, id)
}

// notice looks at each change for what concerns this process's own operations. It is called
// with the view locked.
func (o *operations) notice(r *store.Record) {
	h := o.get(r.ID)
	switch {
	case h == nil:
	case r.RunnerID() != o.runner, r.Status == kapi.StatusAborted:
		h.cancel(kapi.ErrLost)
	case r.NotProvenDead:
		h.cancel(kapi.ErrGivenUp)
	case r.Status.Active() && r.CancelRequestedAt != 0:
		h.cancel(&kapi.CancelledError{By: r.CancelledBy})
	case r.Status.Active() && r.Silence != "":
		o.renew()
	case r.Queued() && !r.Waiting():
		select {
		case h.granted <- struct{}{}:
		default:
		}
	}
}
