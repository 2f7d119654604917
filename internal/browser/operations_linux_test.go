package browser

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/sqlite"
)

// The page of an operation's action says what it is, who started it, and who asked it to pause. It can't be cancelled
// from the page while the operation forbids that, and says why.
func TestOperationsOnThePage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	store, err := sqlite.Open(s.path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := peer.Open(t.Context(), store, peer.Options{Operations: []kapi.Definition{{
		Name: "reshard", Title: "Resharding",
		Run: func(ctx context.Context, h kapi.OperationHandle, _ json.RawMessage) error {
			if err := h.NoCancel("slot 7 is half moved"); err != nil {
				return err
			}
			<-ctx.Done()
			return context.Cause(ctx)
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	var started struct{ Action kapi.Action }
	s.rest("POST", "v4/kapi/operations/reshard", map[string]any{}, &started)
	b := open(t, desktop)
	b.signIn(s)
	b.visit(s.url + "#/actions/" + started.Action.ID)
	by := "ada (" + s.tokenID() + ")"
	b.await("it names the operation", fact("Operation", "reshard"))
	b.await("it says who has started it", fact("Started by", by))
	b.await("it says why it can't be cancelled", fact("Can't be cancelled", "slot 7 is half moved"))
	b.await("its button is off", `document.querySelector("#action-view [data-part=cancel]").getAttribute("aria-disabled") === "true"`)
	s.rest("POST", "v4/kapi/actions/"+started.Action.ID+"/pause", map[string]any{}, nil)
	b.await("it says who has asked for a pause", fact("Asked to pause", "by "+by))
}
