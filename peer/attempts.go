package peer

import (
	"context"
	"encoding/json"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

func (p *Peer) newDefinedRun(ctx context.Context, d *kapi.Definition, arguments json.RawMessage, id string) (*run, error) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	h := p.newHandle(id, cancel)
	if err := p.ops.register(h); err != nil {
		cancel(nil)
		return nil, err
	}
	return &run{peer: p, ctx: ctx, handle: h}, nil
}

func (r *run) took(record *store.Record, claimed bool) {}
