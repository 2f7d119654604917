package rules

import (
	"time"

	"github.com/kettubot/kapi/internal/store"
)

// How long tombstones and answers are kept.
const (
	// ReplayWindow is how long a tombstone is kept for readers that were away.
	ReplayWindow = 5 * time.Minute
	// farOff is how far in the future an ending may be dated. A later one comes from a wrong clock and is
	// purged at once.
	farOff = time.Hour
	// An answer is kept for 24 hours after its action was last ongoing. That is noted once an hour, so
	// the limit is an hour longer.
	noteEvery   = time.Hour
	keepAnswers = 24*time.Hour + noteEvery
	// keepOperations is how long an operation is known after it was last offered.
	keepOperations = 30 * 24 * time.Hour
)

// Retention says what is kept at now, in milliseconds since 1970-01-01 UTC. At most limit tombstones are
// purged at once.
func Retention(now int64, limit int) store.Retention {
	return store.Retention{
		Now: now, Limit: limit,
		Before: now - ReplayWindow.Milliseconds(), Future: now + farOff.Milliseconds(),
		Noted: now - noteEvery.Milliseconds(), Answered: now - keepAnswers.Milliseconds(),
		Offered: now - keepOperations.Milliseconds(),
	}
}
