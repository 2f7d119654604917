package acceptance

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// An account is what one worker reported of one action.
type account struct {
	worker    int
	start     *event
	step      int // of the last report, -1 if none
	end       *event
	dismissed uint64 // the seq, 0 if it was not reported
}

// A history is what the workers of a round reported. Everything about an action is reported by one
// worker, except a dismissal by another worker's start, which nobody reports.
type history struct {
	mu       sync.Mutex
	actions  map[string]*account
	refusals []event
	inherits []event
	faults   []string
	count    int
}

func newHistory() *history { return &history{actions: map[string]*account{}} }

func (h *history) add(worker int, e event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count++
	switch e.What {
	case refused:
		h.refusals = append(h.refusals, e)
		return
	case inherited:
		h.inherits = append(h.inherits, e)
		return
	case violation:
		h.faults = append(h.faults, e.Text)
		return
	}
	a := h.actions[e.ID]
	if a == nil {
		a = &account{worker: worker}
		h.actions[e.ID] = a
	}
	switch e.What {
	case started:
		a.start = &e
	case reported:
		a.step = max(a.step, e.Step)
	case ended:
		a.end = &e
	case dismissed:
		a.dismissed = e.Seq
	}
}

// audit compares the reports with the store after all workers have ended. died are the workers that
// were killed.
func (h *history) audit(t *testing.T, records []store.Record, died map[int]bool) {
	t.Helper()
	for _, fault := range h.faults {
		t.Error(fault)
	}
	byID := map[string]*store.Record{}
	seqs := map[uint64]bool{}
	for i := range records {
		r := &records[i]
		byID[r.ID] = r
		if seqs[r.Seq] {
			t.Errorf("two actions have seq %d", r.Seq)
		}
		seqs[r.Seq] = true
		if r.Status.Active() {
			t.Errorf("action %s of process %d is %s although no runner is left: %+v", r.ID, r.Runner.PID, r.Status, r)
		}
	}
	for id, a := range h.actions {
		r := byID[id]
		if r == nil {
			t.Errorf("action %s is missing; reported: %+v", id, a)
			continue
		}
		for _, fault := range a.compare(r, died[a.worker]) {
			t.Errorf("action %s: %s; reported: %+v, start %+v, end %+v; stored: %+v", id, fault, a, a.start, a.end, r)
		}
	}
	for _, e := range h.refusals {
		if byID[e.ID] == nil {
			t.Errorf("a start was refused because of action %s, which never existed", e.ID)
		}
	}
	for _, e := range h.inherits {
		if r := byID[e.ID]; r == nil || r.Status != kapi.StatusAborted || r.Seq >= e.Seq {
			t.Errorf("the start with fence %d got a key of action %s, which had died and was not dismissed: %+v", e.Seq, e.ID, r)
		}
	}
	for _, fault := range overlaps(records, h.actions) {
		t.Error(fault)
	}
}

// compare returns the ways in which the stored action differs from the reports.
func (a *account) compare(r *store.Record, died bool) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if a.start != nil && a.start.Seq != r.Fence {
		fault("its start had fence %d, now it has %d", a.start.Seq, r.Fence)
	}
	switch {
	case a.end == nil && !died:
		fault("its worker lives and did not report the end")
	case a.end == nil && r.Status == kapi.StatusFailed && strings.HasPrefix(r.State, "its runner died"):
		faults = append(faults, a.compareState(r)...)
	case a.end == nil: // the end, or a dismissal, could not be reported any more
		if r.Status == kapi.StatusFailed && r.State != errBoom.Error() {
			fault("failed for a reason other than its worker's death or its own")
		}
	case a.end.Status == kapi.StatusCompleted && r.Status != kapi.StatusCompleted:
		fault("its completion was lost")
	case a.end.Status == kapi.StatusFailed && (r.Status == kapi.StatusCompleted || r.State != errBoom.Error()):
		fault("its failure was lost")
	}
	if a.dismissed != 0 && (r.Status != kapi.StatusAborted || r.Seq != a.dismissed) {
		fault("its dismissal was lost")
	}
	return faults
}

// compareState checks the last report of a dead worker: it must be the one last told, or the next,
// which could not be told any more.
func (a *account) compareState(r *store.Record) []string {
	if a.start == nil {
		return nil
	}
	_, last, _ := strings.Cut(r.State, "; it last said: ")
	if last == said(a.step, a.start.Steps) || last == said(a.step+1, a.start.Steps) {
		return nil
	}
	return []string{fmt.Sprintf("its last report was lost: step %d of %d", a.step, a.start.Steps)}
}

// A hold is the time, in seqs, for which an action held a key.
type hold struct {
	id       string
	from, to uint64
}

// overlaps finds keys that had two holders at once.
func overlaps(records []store.Record, actions map[string]*account) (faults []string) {
	holds := map[string][]hold{}
	for i := range records {
		r := &records[i]
		a := actions[r.ID]
		if a == nil || a.start == nil {
			continue // nobody reported what it held
		}
		for _, key := range a.start.Keys {
			holds[key] = append(holds[key], hold{r.ID, r.Fence, heldUntil(r, a)})
		}
	}
	for key, all := range holds {
		slices.SortFunc(all, func(a, b hold) int { return cmp.Compare(a.from, b.from) })
		for i := 1; i < len(all); i++ {
			if all[i].from <= all[i-1].to {
				faults = append(faults, fmt.Sprintf("the key %q had two holders: %+v and %+v", key, all[i-1], all[i]))
			}
		}
	}
	return faults
}

func heldUntil(r *store.Record, a *account) uint64 {
	switch {
	case r.Status == kapi.StatusFailed && !a.start.Release:
		return math.MaxUint64
	case a.start.Release && a.end != nil && a.end.Seq != 0:
		return a.end.Seq // freed by the failure, before the dismissal
	case a.start.Release && r.Status == kapi.StatusAborted:
		return r.Fence // nobody reported when it failed
	default:
		return r.Seq
	}
}

// allKeys checks that ongoing actions hold the keys that they should.
func (h *history) allKeys(t *testing.T, list []kapi.Action) {
	t.Helper()
	for _, a := range list {
		account := h.actions[a.ID]
		if account == nil || account.start == nil {
			continue
		}
		if want := account.start.Keys; account.start.Release && len(a.Keys) > 0 || !account.start.Release && !slices.Equal(a.Keys, want) {
			t.Errorf("failed action %s was started with the keys %q (released on failure: %v) and holds %q",
				a.ID, want, account.start.Release, a.Keys)
		}
	}
}

// feed reads all changes since a seq.
func feed(t *testing.T, store store.Store, since uint64) store.Page {
	t.Helper()
	page, err := store.Feed(context.Background(), since)
	if err != nil {
		t.Fatal(err)
	}
	return page
}
