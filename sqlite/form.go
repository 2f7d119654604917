package sqlite

import (
	"fmt"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// highestSeq is the highest seq that is accepted from a file: JSON can hold it exactly, and store.Ahead can
// still be added to it.
const highestSeq = 1<<53 - 1

// checkHead refuses a head that kapi can't have written.
func checkHead(h store.Head) error {
	if !store.IsID(h.Epoch) || h.Seq > highestSeq || h.Purged > h.Seq {
		return fmt.Errorf("%w: its head was not written by kapi (epoch %q, seq %d, purged %d)", kapi.ErrUnavailable, h.Epoch, h.Seq, h.Purged)
	}
	return nil
}
