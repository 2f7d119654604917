package peer

import (
	"time"

	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

const (
	purgeEvery = 30 * time.Second
	purgeLimit = 1000
)

// purgeSome deletes all tombstones that have left the replay window.
func (s *sweeper) purgeSome() {
	ctx, cancel := store.WithPatience(s.ctx, s.opts.StoreTimeout)
	defer cancel(nil)
	for {
		n, err := s.store.Purge(ctx, rules.Retention(time.Now().UnixMilli(), purgeLimit))
		if err != nil {
			if s.ctx.Err() == nil {
				s.log.Warn("old endings can't be deleted yet", "error", err)
			}
			return
		}
		if n < purgeLimit {
			return
		}
	}
}
