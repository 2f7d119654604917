package peer

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// busyPause is the pause between two attempts to start while an open transaction claims a key.
const busyPause = 50 * time.Millisecond

// commitStart commits a start. It tries again, until the StoreTimeout, while an open transaction claims one
// of the keys; and once if the holder of a key has been judged and may hold it no longer.
func (p *Peer) commitStart(ctx context.Context, start rules.Change) (*submission, error) {
	patience := time.NewTimer(p.opts.StoreTimeout)
	defer patience.Stop()
	judged := false
	for {
		start.Unjudged = !judged
		c := submissionOf(start)
		err := p.commits.commit(ctx, c)
		var held *kapi.HeldError
		if !judged && errors.As(err, &held) {
			if judged = true; p.judgeNow(ctx, held) {
				continue
			}
			p.counters.refused(cmp.Or(held.Key, held.Operation))
		}
		var busy *store.BusyError
		if !errors.As(err, &busy) {
			return c, err
		}
		select {
		case <-time.After(busyPause):
		case <-patience.C:
			return c, err
		case <-ctx.Done():
			return c, context.Cause(ctx)
		case <-p.ctx.Done():
			return c, kapi.ErrClosed
		}
	}
}
