package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
)

// A desk runs one resharding in this process, in one attempt or more, each with a peer of its own on the same store.
type desk struct {
	t     *testing.T
	store string
	args  map[string]any
	config
	// before, unless nil, is called before each Proceed.
	before func(*trial)
	trial  *trial // the last one
}

func newDesk(t *testing.T, args map[string]any) *desk {
	return &desk{t: t, store: inFile(t), args: args}
}

// A trial is one attempt. Calls counts the calls of Proceed: in an attempt from the beginning they are the one between
// slots, IMPORTING, MIGRATING and MIGRATE.
type trial struct {
	kapi.OperationHandle
	desk  *desk
	peer  *peer.Peer
	ctx   context.Context
	calls int
	ended chan error // what the operation returned
}

func (tr *trial) Proceed(ctx context.Context) error {
	if tr.calls++; tr.desk.before != nil {
		tr.desk.before(tr)
	}
	return tr.OperationHandle.Proceed(ctx)
}

// handOver makes a planned stop.
func (tr *trial) handOver() {
	go tr.peer.Close()
	<-tr.ctx.Done()
}

// cancel cancels the action.
func (tr *trial) cancel() {
	if _, err := tr.peer.Cancel(context.Background(), tr.ID(), "ann"); err != nil {
		tr.desk.t.Error(err)
	}
	<-tr.ctx.Done()
}

// open opens a peer that offers the operation. Its next attempt is d.trial.
func (d *desk) open() *peer.Peer {
	d.t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	def := define(d.config, quiet)
	tr := &trial{desk: d, ended: make(chan error, 1)}
	run := def.Run
	def.Run = func(ctx context.Context, h kapi.OperationHandle, a json.RawMessage) error {
		tr.OperationHandle, tr.ctx = h, ctx
		err := run(ctx, tr, a)
		tr.ended <- err
		return err
	}
	s, err := openStore(d.t.Context(), d.store)
	if err != nil {
		d.t.Fatal(err)
	}
	if tr.peer, err = peer.Open(d.t.Context(), s, peer.Options{Logger: quiet, Operations: []kapi.Definition{def}}); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = tr.peer.Close() })
	d.trial = tr
	return tr.peer
}

// begin opens a peer and starts the resharding. If one is there that was handed over, the peer takes it over; if one
// failed, a new one continues it.
func (d *desk) begin() error {
	d.t.Helper()
	p := d.open()
	list, err := p.List(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	args, o := checked(d.t, d.args), kapi.StartOptions{}
	if len(list) > 0 {
		if list[0].Status != kapi.StatusFailed {
			return nil
		}
		args, o.Continue = nil, list[0].ID
	}
	_, err = p.StartOperation(d.t.Context(), "reshard", args, o)
	return err
}

// attempt makes an attempt, and returns why it was refused, or what the operation returned.
func (d *desk) attempt() error {
	d.t.Helper()
	if err := d.begin(); err != nil {
		return err
	}
	defer d.trial.peer.Close()
	select {
	case err := <-d.trial.ended:
		return err
	case <-time.After(patience):
		d.t.Fatal("the attempt doesn't end")
		return nil
	}
}
