package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
)

// An operation runs until it is told how to end. It ignores its context.
type operation struct {
	action kapi.Action
	handle kapi.Handle
	ctx    context.Context //nolint:containedctx // the operation's own context, which the cases inspect
	finish chan error
	done   chan error
}

// begin starts an operation and returns once it runs. If the start fails it returns that error.
func begin(ctx context.Context, p *peer.Peer, spec kapi.Spec) (*operation, error) {
	op := &operation{finish: make(chan error, 1), done: make(chan error, 1)}
	running := make(chan struct{})
	go func() {
		op.done <- p.Do(ctx, spec, func(ctx context.Context, h kapi.Handle) error {
			op.handle, op.action, op.ctx = h, h.Action(), ctx
			close(running)
			return <-op.finish
		})
	}()
	select {
	case <-running:
		return op, nil
	case err := <-op.done:
		return nil, err
	}
}

func start(t tb, p *peer.Peer, spec kapi.Spec) *operation {
	t.Helper()
	op, err := begin(context.Background(), p, spec)
	if err != nil {
		t.Fatalf("start %q: %v", spec.Title, err)
	}
	t.Cleanup(func() { // a failed case must not wait for it
		select {
		case op.finish <- errors.New("the case is over"):
		default:
		}
	})
	return op
}

// end ends the operation and returns when the end is on disk.
func (op *operation) end(t tb, result error) {
	t.Helper()
	op.finish <- result
	if err := receive(t, op.done, "the end of "+op.action.Title); !errors.Is(err, result) {
		t.Errorf("Do of an operation that ended with %v returned %v", result, err)
	}
}

func list(t tb, p *peer.Peer) []kapi.Action {
	t.Helper()
	all, err := p.List(within(t))
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	return all
}

// find returns the listed action with that id, nil if there is none.
func find(t tb, p *peer.Peer, id string) *kapi.Action {
	t.Helper()
	all := list(t, p)
	if i := slices.IndexFunc(all, func(a kapi.Action) bool { return a.ID == id }); i >= 0 {
		return &all[i]
	}
	return nil
}

// byID returns the wire form of each action.
func byID(t tb, actions []kapi.Action) map[string]string {
	t.Helper()
	m := make(map[string]string, len(actions))
	for _, a := range actions {
		m[a.ID] = wire(t, a)
	}
	return m
}

func wire(t tb, a kapi.Action) string {
	t.Helper()
	data, err := json.Marshal(a)
	if err != nil {
		t.Fatalf("encode an action: %v", err)
	}
	return string(data)
}
