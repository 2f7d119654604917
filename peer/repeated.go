package peer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// Starts of operations that may be repeated (StartOptions.IdempotencyKey).

// askedOf names a start that may be repeated; nil if it has no IdempotencyKey.
func askedOf(name string, arguments json.RawMessage, o *kapi.StartOptions) *store.Answer {
	if o.IdempotencyKey == "" {
		return nil
	}
	all, err := json.Marshal([]any{name, string(arguments), o.Continue})
	if err != nil {
		panic(err) // every part can be encoded
	}
	hash := sha256.Sum256(all)
	return &store.Answer{Request: store.Request{By: "operation " + o.By, Key: o.IdempotencyKey}, Hash: hash[:]}
}

// answerTo returns the answer that was given to a request. The error is ErrUnknown if there is none, or ErrOtherRequest.
func (p *Peer) answerTo(ctx context.Context, asked *store.Answer) (*store.Answer, error) {
	found, err := readTurn(ctx, p, store.Batch{Light: true, Requests: []store.Request{asked.Request}})
	switch {
	case err != nil:
		return nil, err
	case len(found.Answers) == 0:
		return nil, kapi.ErrUnknown
	case !bytes.Equal(found.Answers[0].Hash, asked.Hash):
		return nil, kapi.ErrOtherRequest
	}
	return &found.Answers[0], nil
}

// startedBefore returns what became of a start that was done before, unless err is set.
func (p *Peer) startedBefore(ctx context.Context, before *store.Answer, err error) (kapi.Started, error) {
	if err != nil {
		return kapi.Started{}, err
	}
	found, err := readTurn(ctx, p, store.Batch{Light: true, Find: []string{before.Action}})
	if err == nil {
		err = tidyAll(found.Found)
	}
	if err != nil {
		return kapi.Started{}, err
	}
	for i := range found.Found {
		if r := &found.Found[i]; r.ID == before.Action {
			return p.awaitTaken(ctx, r, p.newsSince(r.Seq))
		}
	}
	var kept kapi.Remote // its ending was purged
	if err := json.Unmarshal(before.Body, &kept); err != nil {
		return kapi.Started{}, fmt.Errorf("read the answer that was given before: %w", err)
	}
	return kapi.Started{Action: kept.Action}, nil
}

// readTurn reads what only a transaction can read. It takes the store's write lock for a moment.
func readTurn(ctx context.Context, p *Peer, b store.Batch) (found store.Loaded, err error) {
	ctx, cancel := store.WithPatience(ctx, p.opts.StoreTimeout)
	defer cancel(nil)
	b.Again = func() store.Batch { return b }
	err = p.store.Commit(ctx, b, func(l store.Loaded) (store.Writes, error) {
		found = l
		return store.Writes{}, nil
	})
	return found, err
}
