package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/internal/wellformed"
)

// offerEvery is how often a peer publishes what it offers, so that the names stay known (rules.Retention).
const offerEvery = time.Hour

// An offerer knows the operations that this peer offers, publishes them, and reads what all peers offer.
type offerer struct {
	store   store.Store
	log     *slog.Logger
	ctx     context.Context           // ends with the peer
	runner  func() store.RunnerRecord // this process's record in the store
	closing func() bool
	dead    func(*store.RunnerRecord) bool // reports whether a runner's death is certain
	read    time.Duration                  // the limit of a read
	patient time.Duration                  // the limit of a write: Options.StoreTimeout
	lease   time.Duration                  // of runners that have none

	own map[string]*kapi.Definition
	// writing is held while offers are written: one that was begun before a withdrawal must not come after it.
	writing chan struct{} // holds one
}

func (o *offerer) init(all []kapi.Definition) {
	o.writing = make(chan struct{}, 1)
	o.own = make(map[string]*kapi.Definition, len(all))
	for i := range all {
		d := all[i]
		o.own[d.Name] = &d
	}
}

func (o *offerer) any() bool { return len(o.own) > 0 }

// publish writes what this peer offers, unless it is being closed. The lease is renewed first, because an offer counts
// only while it lasts.
func (o *offerer) publish(ctx context.Context) error {
	o.writing <- struct{}{} // only a withdrawal writes besides, as the last
	defer func() { <-o.writing }()
	if o.closing() {
		return nil
	}
	ctx, cancel := store.WithPatience(ctx, o.patient)
	defer cancel(nil)
	offers := make([]store.OfferRecord, 0, len(o.own))
	for name, d := range o.own {
		about, err := json.Marshal(offerOf(d))
		if err != nil {
			return fmt.Errorf("describe operation %q: %w", name, err)
		}
		offers = append(offers, store.OfferRecord{Name: name, About: about})
	}
	me := o.runner()
	if err := o.store.Renew(ctx, me); err != nil {
		return err
	}
	return o.store.Offer(ctx, me.ID, offers)
}

// withdraw deletes what this peer offers, so that nobody leaves a start to it any more. The peer is being closed, so
// nothing is published afterwards.
func (o *offerer) withdraw() {
	if !o.any() {
		return
	}
	o.writing <- struct{}{} // a publication takes no longer than its patience
	defer func() { <-o.writing }()
	ctx, cancel := store.WithPatience(o.ctx, o.patient)
	defer cancel(nil)
	if err := o.store.Offer(ctx, o.runner().ID, nil); err != nil {
		o.log.Warn("this peer's offers can't be deleted; they end with its lease", "error", err)
	}
}

func offerOf(d *kapi.Definition) kapi.Offer {
	return kapi.Offer{
		Name: d.Name, Title: d.Title, Description: d.Description, Schema: d.Schema, Resumable: d.Resume != nil, Limit: d.Limit,
	}
}

// all returns all operations that are or were offered, in alphabetical order. An operation of this peer is described as
// this peer has it, any other as it was published last.
func (o *offerer) all(ctx context.Context) ([]kapi.Offer, error) {
	if o.ctx.Err() != nil {
		return nil, kapi.ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, o.read)
	defer cancel()
	records, err := o.store.Offers(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the offers: %w", err)
	}
	offers := make([]kapi.Offer, 0, len(records))
	now := time.Now()
	for i := range records {
		offer, ok := readOffer(&records[i])
		if !ok || o.own[offer.Name] != nil {
			continue
		}
		offer.Offered = slices.ContainsFunc(records[i].Runners, func(r store.RunnerRecord) bool { return o.live(&r, now) })
		offers = append(offers, offer)
	}
	for _, d := range o.own {
		offer := offerOf(d)
		offer.Offered = !o.closing()
		offers = append(offers, offer)
	}
	slices.SortFunc(offers, func(a, b kapi.Offer) int { return strings.Compare(a.Name, b.Name) })
	return offers, nil
}

// readOffer checks what a store has, which other programs may have written (see form.go).
func readOffer(r *store.OfferRecord) (offer kapi.Offer, ok bool) {
	// The decoder would leave invalid UTF-8 in the schema, and clients would refuse the whole list for it.
	if wellformed.JSON(r.About) != "" || json.Unmarshal(r.About, &offer) != nil || offer.Name != r.Name {
		return offer, false
	}
	if !bytes.HasPrefix(offer.Schema, []byte("{")) {
		offer.Schema = nil // null, or no schema of arguments
	}
	offer.Limit = min(max(offer.Limit, 0), wellformed.MaxLimit)
	named := kapi.Definition{
		Name: offer.Name, Title: "t", Run: func(context.Context, kapi.OperationHandle, json.RawMessage) error { return nil },
	}
	offer.Title = fit(offer.Title, wellformed.MaxTitle)
	offer.Description = fit(offer.Description, wellformed.MaxDescription)
	return offer, named.Validate() == nil && offer.Title != ""
}

// live reports whether the peer with this runner offers what it has published: it is known to be alive, or was heard
// lately.
func (o *offerer) live(r *store.RunnerRecord, now time.Time) bool {
	switch {
	case r.Lock == store.LockHeld:
		return true
	case o.dead(r):
		return false
	}
	lease := r.Lease
	if lease == 0 {
		lease = o.lease
	}
	return now.Sub(time.UnixMilli(r.HeardAt)) < 2*lease
}

// find returns the offer of an operation that another peer offers. The error is an *UnknownOperationError or a
// *NotOfferedError, or wraps ErrUnavailable.
func (o *offerer) find(ctx context.Context, name string) (kapi.Offer, error) {
	offers, err := o.all(ctx)
	if err != nil {
		return kapi.Offer{}, err
	}
	known := make([]string, len(offers))
	for i, offer := range offers {
		switch known[i] = offer.Name; {
		case offer.Name != name:
		case !offer.Offered:
			return offer, &kapi.NotOfferedError{Operation: name}
		default:
			return offer, nil
		}
	}
	return kapi.Offer{}, &kapi.UnknownOperationError{Name: name, Known: known}
}
