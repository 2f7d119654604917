package peer

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// StartOperation starts an operation by its name. arguments is a JSON object; nil is "{}".
//
// A peer that offers the operation (Options.Operations) runs it itself, and returns once the start is on disk and the
// operation's Preflight, if it has one, has passed. Any other peer records the start for one that does, and returns
// once it has begun there; after StoreTimeout it returns the action as pending, without an error. An action that waits
// for its turn (StartOptions.Wait) is pending, too.
//
// The error is an *UnknownOperationError, a *NotOfferedError (nothing was recorded), an *ArgumentsError, a *HeldError,
// a *PreflightError, an *InvalidError, a *CancelledError if somebody cancels it before it begins, ErrOtherRequest,
// ErrUnknown or ErrNotFailed (for StartOptions.Continue), ErrClosed, or wraps ErrUnavailable. It is none of these if the
// definition's Check or Keys panics. ctx limits only the start, like that of Start. If it ends after a start was recorded
// for another peer, the start stays recorded.
func (p *Peer) StartOperation(ctx context.Context, name string, arguments json.RawMessage, o kapi.StartOptions) (kapi.Started, error) {
	arguments, err := plainArguments(name, arguments)
	if err != nil {
		return kapi.Started{}, err
	}
	if err := checkOptions(arguments, &o); err != nil {
		return kapi.Started{}, err
	}
	if p.ops.isClosing() {
		return kapi.Started{}, kapi.ErrClosed
	}
	d := p.offers.own[name]
	if d == nil {
		return p.startElsewhere(ctx, name, arguments, o)
	}
	asked := askedOf(name, arguments, &o)
	if o.Continue != "" {
		before, err := p.mayContinue(ctx, name, &o, asked)
		if before != nil || err != nil {
			return p.startedBefore(ctx, before, err)
		}
		if arguments, err = savedArguments(ctx, p.store, p.opts.readTimeout, o.Continue, d); err != nil {
			return kapi.Started{}, err
		}
	}
	arguments, keys, err := checkArguments(p.log, d, arguments)
	switch {
	case err != nil:
		return kapi.Started{}, err
	case o.Preview:
		return p.preview(ctx, d, arguments)
	}
	return p.startHere(ctx, d, arguments, keys, asked, o)
}

// preview answers what the operation would do.
func (p *Peer) preview(ctx context.Context, d *kapi.Definition, arguments json.RawMessage) (kapi.Started, error) {
	preview := kapi.Preview{}
	if d.Preflight != nil {
		var err error
		if preview, err = preflight(ctx, p.log, d, arguments); err != nil {
			return kapi.Started{}, err
		}
	}
	if preview.Lines == nil {
		preview.Lines = []string{}
	}
	return kapi.Started{Preview: &preview}, nil
}

// startHere starts an operation that this peer offers.
func (p *Peer) startHere(ctx context.Context, d *kapi.Definition, arguments json.RawMessage, keys []string, asked *store.Answer, o kapi.StartOptions) (kapi.Started, error) {
	id := newID()
	r, err := p.newDefinedRun(ctx, d, arguments, id)
	if err != nil {
		return kapi.Started{}, err
	}
	r.wait, r.gate = o.Wait, newGate(p.log, d, arguments, o.Continue != "")
	record := p.definedRecord(id, offerOf(d), o)
	record.Runner, record.Keys = p.asRunner(), keys
	record.Defined.Limit, record.Defined.Continues = d.Limit, o.Continue
	resumes(record.Defined, d)
	if r.gate.preflight == nil {
		record.Status = kapi.StatusRunning
	}
	change := rules.Change{Kind: rules.KindStart, Action: record, Wait: o.Wait != 0, Asked: asked}
	if o.Continue == "" {
		change.Saved = savedAs(id, arguments)
	}
	c, err := r.start(ctx, change)
	switch {
	case err != nil:
		return kapi.Started{}, err
	case c.Record.ID != id:
		return p.startedBefore(ctx, c.Kept, nil)
	}
	r.took(&c.Record, o.Continue != "")
	started := r.handle.action // before it runs
	go func() { _ = r.run() }()
	if started.Status != kapi.StatusPending || c.Record.Waiting() {
		return kapi.Started{Action: started}, nil
	}
	select {
	case <-r.gate.passed:
	case <-ctx.Done():
		r.handle.cancel(fmt.Errorf("stopped by its caller: %w", context.Cause(ctx)))
		<-r.gate.passed
	}
	return kapi.Started{Action: r.gate.began}, r.gate.err
}

// definedRecord returns the record of a pending start of an operation, without its runner and keys.
func (p *Peer) definedRecord(id string, of kapi.Offer, o kapi.StartOptions) *store.Record {
	return &store.Record{
		Action: kapi.Action{
			ID: id, Title: of.Title, Description: of.Description, Status: kapi.StatusPending,
			Operation: of.Name, StartedBy: o.By,
		},
		Defined: &store.Defined{
			Origin: id, MayWait: o.Wait != 0, Patience: int64(max(o.Wait, 0) / time.Millisecond),
		},
	}
}

func (p *Peer) asRunner() *kapi.Runner {
	return &kapi.Runner{ID: p.self.ID, Host: p.self.Host, PID: p.self.PID}
}

// Defaults of kapi.Resume.
const (
	defaultWithin    = 10 * time.Minute
	defaultTakeovers = 3
)

// resumes notes in a record whether and how its operation is resumed, and the version of its checkpoints.
func resumes(to *store.Defined, d *kapi.Definition) {
	to.Version = d.Version
	if d.Resume == nil {
		return
	}
	within, takeovers := d.Resume.Within, d.Resume.Takeovers
	if within == 0 {
		within = defaultWithin
	}
	if takeovers == 0 {
		takeovers = defaultTakeovers
	}
	to.Resumable, to.Within, to.Takeovers = true, within.Milliseconds(), takeovers
}

// mayContinue returns an error if an action can't be continued by one of the named operation. If it is gone because the
// same start was done before, it returns the answer to that one.
func (p *Peer) mayContinue(ctx context.Context, name string, o *kapi.StartOptions, asked *store.Answer) (*store.Answer, error) {
	found, err := p.sweep.some([]string{o.Continue})
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0 && asked != nil:
		return p.answerTo(ctx, asked)
	case len(found) == 0:
		return nil, kapi.ErrUnknown
	case found[0].Operation != name:
		return nil, &kapi.InvalidError{Field: "continue", Reason: fmt.Sprintf("must be an action of operation %q: %s is none", name, o.Continue)}
	case found[0].Status != kapi.StatusFailed:
		return nil, fmt.Errorf("continue: %w", kapi.ErrNotFailed)
	}
	return nil, nil
}

// noArguments are the arguments of an operation that is given none. They are not stored.
const noArguments = "{}"

// savedAs returns the arguments as they are stored.
func savedAs(id string, arguments json.RawMessage) []store.Saved {
	if string(arguments) == noArguments {
		return nil
	}
	return []store.Saved{{Action: id, Name: store.ArgumentsName, Data: arguments}}
}

// savedArguments reads the arguments of an action. The error is an *InvalidError if heir, unless it is nil, can't read
// the action's checkpoints.
func savedArguments(ctx context.Context, s store.Store, limit time.Duration, id string, heir *kapi.Definition) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	saved, err := s.Saved(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read the arguments of action %s: %w", id, err)
	}
	arguments, newest := json.RawMessage(noArguments), -1
	for i := range saved {
		if saved[i].Name == store.ArgumentsName {
			arguments = saved[i].Data
		} else {
			newest = max(newest, saved[i].Version)
		}
	}
	if heir != nil && newest >= 0 && (newest < heir.Reads || newest > heir.Version) {
		return nil, &kapi.InvalidError{Field: "continue", Reason: fmt.Sprintf(
			"names an action with checkpoints of version %d, and this peer's operation reads %d to %d", newest, heir.Reads, heir.Version)}
	}
	return arguments, nil
}
