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

// operations has the operations that this process runs, from before their start until their end is reported.
type operations struct {
	runner string // this process's id
	log    *slog.Logger
	renew  func() // renews the lease now

	mu      sync.Mutex
	running map[string]*handle
	work    runnerWork              // the processes of operations that run commands
	encoded string                  // work as RunnerRecord.Work; "" if that must be encoded again
	unsaid  map[string]rules.Report // ends that could not be recorded in time (Options.EndTimeout)
	lost    map[string]store.Record // actions that run here and are missing from the store's history
	closing bool

	// unconfirmed has actions that may have been started, although the start returned an error or is no
	// longer waited for.
	// The value is true for a claim.
	unconfirmed map[string]bool
	ongoing     sync.WaitGroup
}

func (o *operations) init(runner string, log *slog.Logger, renew func()) {
	o.runner, o.log, o.renew = runner, log, renew
	o.running = map[string]*handle{}
	o.unsaid = map[string]rules.Report{}
	o.lost = map[string]store.Record{}
	o.unconfirmed = map[string]bool{}
}

// register adds a handle. It is called before the action is started, so that no change of the action is
// missed.
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

// registerOnce is like register. It returns ErrStaleFence if this process has a handle of the action already.
func (o *operations) registerOnce(h *handle) error {
	if o.has(h.id) { // only claims register an id that is known, and rounds has one of an action at a time
		return kapi.ErrStaleFence
	}
	return o.register(h)
}

func (o *operations) unregister(h *handle) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.running, h.id)
	delete(o.work, h.id)
	o.encoded = ""
	o.ongoing.Done()
}

// get returns the handle of an action, or nil if this process doesn't run it.
func (o *operations) get(id string) *handle {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.running[id]
}

func (o *operations) has(id string) bool { return o.get(id) != nil }

// ids returns others and the ids of all actions that this process runs or may have started.
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

// doubt notes that it is unknown whether an action was started.
func (o *operations) doubt(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unconfirmed[id] = false
}

// doubtClaim notes that it is unknown whether an action was claimed.
func (o *operations) doubtClaim(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unconfirmed[id] = true
}

// claimDoubted reports whether there is a note of doubt for the claim of an action.
func (o *operations) claimDoubted(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.unconfirmed[id]
}

// settled removes the note of doubt.
func (o *operations) settled(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.unconfirmed, id)
}

// anyDoubt reports whether there is a note of doubt for any action.
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

// started returns the handles whose start is committed. In a crowd a start may take long, and until then there is
// nothing to renew or to read. After the limit, it may be committed without this process knowing.
func (o *operations) started(limit time.Duration) []*handle {
	return slices.DeleteFunc(o.all(), func(h *handle) bool {
		began := h.starting.Load()
		return began != nil && time.Since(*began) < limit
	})
}

// onlyStarting reports whether this process waits for starts to be committed, runs nothing, and owes the store nothing.
func (o *operations) onlyStarting() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, h := range o.running {
		if h.starting.Load() == nil {
			return false
		}
	}
	return len(o.running) > 0 && len(o.unsaid)+len(o.unconfirmed)+len(o.lost) == 0
}

// close makes register return ErrClosed from now on. It is false if it was called before.
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

// await waits until all operations have ended, at most for limit.
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

// recordWork notes the processes of an action. It doesn't write them to the store.
func (o *operations) recordWork(id string, w proc.Work) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.work == nil {
		o.work = runnerWork{}
	}
	o.work[id], o.encoded = w, ""
}

// recordedWork returns the processes as RunnerRecord.Work. Each renewal needs it, and it seldom changes.
func (o *operations) recordedWork() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.work) == 0 {
		return ""
	}
	if o.encoded == "" {
		work, err := json.Marshal(o.work)
		if err != nil {
			panic(err) // every field can be encoded
		}
		o.encoded = string(work)
	}
	return o.encoded
}

// leaveUnsaid leaves an end that could not be recorded in time to the sweeper.
func (o *operations) leaveUnsaid(id string, rep rules.Report) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unsaid[id] = rep
}

// said returns the end of an action that was left to the sweeper.
func (o *operations) said(id string) (rep rules.Report, ended bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	rep, ended = o.unsaid[id]
	return rep, ended
}

// leftUnsaid returns the ids of the actions whose end was left to the sweeper.
func (o *operations) leftUnsaid() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Collect(maps.Keys(o.unsaid))
}

// forgetUnsaid drops the end of an action that was recorded or dismissed.
func (o *operations) forgetUnsaid(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.unsaid, id)
}

// claimed notes that the claim of an action is committed, by the change with that seq. get returns an action as the view
// has it. That may have gone on to a later runner without showing the claim; what comes later is noticed as it comes.
func (o *operations) claimed(h *handle, seq uint64, get func(id string) (store.Record, bool)) {
	h.claimed.Store(seq) // before get
	if newest, ok := get(h.id); ok && newest.Seq > seq {
		o.notice(&newest)
	}
}

// notice passes a change on to the operation that it concerns, if this process runs it. It is called with
// the view locked.
func (o *operations) notice(r *store.Record) {
	h := o.get(r.ID)
	if h != nil && h.claiming.Load() {
		if claimed := h.claimed.Load(); r.RunnerID() != o.runner && (claimed == 0 || r.Seq <= claimed) {
			return // its claim is not committed yet
		}
		h.claiming.Store(false)
	}
	if h != nil && h.defined != nil && r.RunnerID() == o.runner {
		h.defined.notice(r)
	}
	switch {
	case h == nil:
	case r.RunnerID() != o.runner, r.Status == kapi.StatusAborted:
		h.lose(kapi.ErrLost)
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
