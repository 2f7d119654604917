package peer

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"sync"

	"github.com/kettubot/kapi/internal/store"
)

// A Listing is the list of all ongoing actions in its wire form.
type Listing struct {
	// Epoch and Seq are the head that the list belongs to.
	Epoch string
	Seq   uint64
	// JSON is an array of actions, oldest first. It is shared: don't change it.
	JSON []byte

	tag     string
	gzipped func() []byte
}

// Tag identifies this list among all lists that the same caller can get, as an ETag does.
func (l Listing) Tag() string { return l.tag }

// Gzipped returns JSON compressed with gzip. The first call compresses it for all holders of this list. The result is
// shared: don't change it.
func (l Listing) Gzipped() []byte {
	if l.gzipped == nil {
		return compressed(l.JSON)
	}
	return l.gzipped()
}

// compressed uses the fastest level, because on a busy store a list is soon outdated.
func compressed(text []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level exists, and writes to a buffer don't fail
	_, _ = w.Write(text)
	_ = w.Close()
	return b.Bytes()
}

// list returns the actions that a sender has started, or all actions if sender is "". It is cached until something
// changes.
func (v *view) list(sender string) Listing {
	v.mu.RLock()
	listing := v.listings[sender]
	v.mu.RUnlock()
	if listing != nil {
		return *listing
	}
	var all []*entry
	var head store.Head
	if sender == "" {
		all, head = v.all()
	} else {
		all, head = v.startedBy(sender)
	}
	listing = listingOf(all, head)
	if sender != "" { // the tag must not reveal the seq, which counts the changes of other senders
		hash := sha256.Sum256(listing.JSON)
		listing.tag = hex.EncodeToString(hash[:16])
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.head.Epoch == head.Epoch && v.head.Seq == head.Seq {
		v.listings[sender] = listing
	}
	return *listing
}

func listingOf(all []*entry, head store.Head) *Listing {
	size := len("[]")
	for _, e := range all {
		size += len(e.encode()) + len(",")
	}
	text := append(make([]byte, 0, size), '[')
	for i, e := range all {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, e.encode()...)
	}
	text = append(text, ']')
	return &Listing{
		Epoch: head.Epoch, Seq: head.Seq, JSON: text, tag: head.Epoch + "-" + strconv.FormatUint(head.Seq, 10),
		gzipped: sync.OnceValue(func() []byte { return compressed(text) }),
	}
}
