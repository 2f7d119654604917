package peer

import (
	"context"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A claimer forgets an action that a new history lacks.
func TestClaimerForgets(t *testing.T) {
	ops := operations{}
	c := claimer{
		view: newView(func(*store.Record) {}, func(store.Record) {}), ops: &ops, ctx: t.Context(),
		offers: &offerer{own: map[string]*kapi.Definition{"move": {Name: "move"}}},
		sync:   func(context.Context) error { return nil },
	}
	c.init()
	c.notice(&store.Record{Action: kapi.Action{ID: "a", Operation: "move"}, Defined: &store.Defined{Unclaimed: true}})
	if len(c.opened()) != 1 {
		t.Fatal("it is not noted")
	}
	if err := c.claim("a"); err != nil || len(c.opened()) != 0 {
		t.Errorf("%v; open are %q", err, c.opened())
	}
}
