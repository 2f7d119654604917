package kapi_test

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net/http"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/server"
	"github.com/kettubot/kapi/sqlite"
)

// A service runs its own resharding as an action. Admins watch and dismiss it on the web page, over REST and
// over the gateway.
func Example_embed() {
	ctx, mux := context.Background(), http.NewServeMux()
	store, err := sqlite.Open("/var/lib/bot/kapi.db") // or postgres.Open, or sqlite.OpenMemory() in tests
	if err != nil {
		log.Fatal(err)
	}
	p, err := peer.Open(ctx, store, peer.Options{Logger: slog.Default()})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close() // asks operations to stop, and waits for the grace period
	mux.Handle("/", server.New(p, server.Options{Authenticate: admin}))

	_, err = p.Start(ctx, kapi.Spec{Title: "Resharding", Keys: []string{"reshard"}},
		func(ctx context.Context, h kapi.Handle) error {
			for i, slot := range slots {
				h.SetState("slot " + slot.Name)
				if err := move(ctx, slot, h.Fence()); err != nil {
					return err // failed
				}
				h.SetProgress(float64(i+1) / float64(len(slots)))
			}
			return nil // completed
		})
	var held *kapi.HeldError // says which action holds the key
	switch {
	case errors.As(err, &held): // another resharding is running, or has failed and was not dismissed
		log.Printf("action %s holds %s, %s", held.Holder.ID, held.Key, held.Holder.Status)
	case err != nil:
		log.Print(err)
	}
}

// admin stands in for the service's own users. auth.NewAuthenticator(store).Authenticate is for kapi's tokens.
func admin(*http.Request) (auth.Identity, error) { return auth.Identity{}, auth.ErrNoToken }

type slot struct{ Name string }

var slots = []slot{{"north"}, {"south"}}

// move stands in for the real work. It refuses the fence of a runner that lost its action.
func move(ctx context.Context, _ slot, _ uint64) error { return ctx.Err() }
