package rules

import (
	"time"

	"github.com/kettubot/kapi/internal/store"
)

// How long things are kept that are over.
const (
	// ReplayWindow is how long a tombstone stays for readers who were away.
	ReplayWindow = 5 * time.Minute
	// farOff is how far in the future an ending may be dated: a clock is wrong by less.
	farOff = time.Hour
	// An answer is kept for 24 hours after its action was ongoing for the last time. That is noted
	// once an hour, so it is kept an hour longer.
	noteEvery   = time.Hour
	keepAnswers = 24*time.Hour + noteEvery
)

// Retention says what is kept at a time (ms since 1970). At most so many tombstones go at once.
func Retention(now int64, limit int) store.Retention {
	return store.Retention{
		Now: now, Limit: limit,
		Before: now - ReplayWindow.Milliseconds(), Future: now + farOff.Milliseconds(),
		Noted: now - noteEvery.Milliseconds(), Answered: now - keepAnswers.Milliseconds(),
	}
}
