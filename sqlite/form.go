package sqlite

import (
	"fmt"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// highestSeq is the highest seq that a file is believed: a number that JSON can hold, and from which
// a jump ahead is still one.
const highestSeq = 1<<53 - 1

// checkHead refuses a head that no kapi has written: the file may be anybody's.
func checkHead(h store.Head) error {
	if !store.IsID(h.Epoch) || h.Seq > highestSeq || h.Purged > h.Seq {
		return fmt.Errorf("%w: its head is not kapi's (epoch %q, seq %d, purged %d)", kapi.ErrUnavailable, h.Epoch, h.Seq, h.Purged)
	}
	return nil
}
