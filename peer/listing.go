package peer

import (
	"bytes"
	"compress/gzip"
	"slices"
	"sync"

	"github.com/kettubot/kapi/internal/store"
)

// A Listing is the list of all ongoing actions in its wire form.
type Listing struct {
	// Epoch and Seq tell this list from every other.
	Epoch string
	Seq   uint64
	// JSON is an array, oldest action first. It is shared: don't change it.
	JSON []byte

	gzipped func() []byte
}

// Gzipped returns JSON compressed by gzip. That is done once for all who have got this list, by the first who asks. It
// is shared: don't change it.
func (l Listing) Gzipped() []byte {
	if l.gzipped == nil {
		return compressed(l.JSON)
	}
	return l.gzipped()
}

// compressed takes what is quickest: a list on a busy store is soon another.
func compressed(text []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // a level that there is, and a writer that doesn't fail
	_, _ = w.Write(text)
	_ = w.Close()
	return b.Bytes()
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
	text := slices.Concat([]byte("["), bytes.Join(parts, []byte(",")), []byte("]"))
	return &Listing{
		Epoch: head.Epoch, Seq: head.Seq, JSON: text,
		gzipped: sync.OnceValue(func() []byte { return compressed(text) }),
	}
}
