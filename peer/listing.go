package peer

import (
	"bytes"
	"slices"

	"github.com/kettubot/kapi/internal/store"
)

// A Listing is the list of all ongoing actions in its wire form.
type Listing struct {
	// Epoch and Seq tell this list from every other.
	Epoch string
	Seq   uint64
	// JSON is an array, oldest action first. It is shared: don't change it.
	JSON []byte
}

func (v *view) list() Listing {
	v.mu.RLock()
	listing := v.listing
	v.mu.RUnlock()
	if listing != nil {
		return *listing
	}
	all, head := v.all()
	listing = listingOf(all, head)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.head.Epoch == head.Epoch && v.head.Seq == head.Seq {
		v.listing = listing
	}
	return *listing
}

func listingOf(all []*entry, head store.Head) *Listing {
	parts := make([][]byte, len(all))
	for i, e := range all {
		parts[i] = e.encode()
	}
	return &Listing{
		Epoch: head.Epoch, Seq: head.Seq,
		JSON: slices.Concat([]byte("["), bytes.Join(parts, []byte(",")), []byte("]")),
	}
}
