package peer

import (
	"testing"

	"github.com/kettubot/kapi/internal/store"
)

// TestOffersOfOthers checks that what another program has written as an offer has the form that clients rely on.
func TestOffersOfOthers(t *testing.T) {
	read := func(about string) (limit int, schema string, ok bool) {
		offer, ok := readOffer(&store.OfferRecord{Name: "x", About: []byte(about)})
		return offer.Limit, string(offer.Schema), ok
	}
	for _, about := range []string{
		`{`, `{"name":"y","title":"X"}`, `{"name":"x"}`, "{\"name\":\"x\",\"title\":\"X\",\"schema\":{\"properties\":{\"\xff\":{}}}}",
		`{"name":"x","title":"X","schema":{"description":"\ud800"}}`,
	} {
		if _, _, ok := read(about); ok {
			t.Errorf("%q is listed", about)
		}
	}
	for about, want := range map[string]struct {
		limit  int
		schema string
	}{
		`{"name":"x","title":"X","schema":{"type":"object"},"limit":2}`: {2, `{"type":"object"}`},
		`{"name":"x","title":"X","schema":null,"limit":-5}`:             {0, ""},
		`{"name":"x","title":"X","schema":"object","limit":1000000000}`: {1000, ""},
		`{"name":"x","title":"X","schema":true}`:                        {0, ""},
	} {
		if limit, schema, ok := read(about); !ok || limit != want.limit || schema != want.schema {
			t.Errorf("%s: limit %d, schema %q, %v", about, limit, schema, ok)
		}
	}
}
