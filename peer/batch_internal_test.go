package peer

import (
	"testing"

	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// A transaction has a limited number of changes, and of bytes to save.
func TestBatchIsLimited(t *testing.T) {
	for size, want := range map[int]int{0: maxBatch, 1 << 20: 4, 3 << 20: 2} {
		waiting := make(chan *submission, 2*maxBatch)
		for range cap(waiting) {
			waiting <- submissionOf(rules.Change{Kind: rules.KindSave, Saved: []store.Saved{{Data: make([]byte, size)}}})
		}
		b := &batch{more: waiting}
		b.fill()
		if len(b.changes) != want {
			t.Errorf("%d changes of %d bytes each, want %d", len(b.changes), size, want)
		}
		if size > 0 {
			continue
		}
		if len(waiting) != maxBatch {
			t.Errorf("%d are left", len(waiting))
		}
	}
}
