package kapi_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/server"
	"github.com/kettubot/kapi/sqlite"
)

// A service runs its own resharding as an action. Admins watch and dismiss it on the web page, over REST and
// over the gateway, with tokens that `kapi token create` makes.
func Example_embed() {
	ctx := context.Background()
	store, err := sqlite.Open("/var/lib/bot/kapi.db")
	if err != nil {
		log.Fatal(err)
	}
	p, err := peer.Open(ctx, store, peer.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close() // asks operations to stop, waits the grace period

	mux := http.NewServeMux()
	mux.Handle("/", server.New(p, server.Options{Authenticate: auth.NewAuthenticator(store).Authenticate}))
	mux.HandleFunc("POST /reshard", func(w http.ResponseWriter, r *http.Request) {
		action, err := p.Start(r.Context(), kapi.Spec{Title: "Resharding", Keys: []string{"reshard"}}, reshard)
		var held *kapi.HeldError
		switch {
		case errors.As(err, &held): // by a resharding that goes on, or one that failed and was not dismissed
			http.Error(w, "reshard: "+held.Holder.ID+" is "+held.Holder.Status.String(), http.StatusConflict)
		case err != nil:
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		default:
			fmt.Fprintln(w, "started", action.ID)
		}
	})
	if err := http.ListenAndServe("127.0.0.1:4081", mux); err != nil {
		log.Print(err)
	}
}

// reshard goes on when the request that started it has ended.
func reshard(ctx context.Context, h kapi.Handle) error {
	slots := []string{"north", "south"}
	for i, slot := range slots {
		h.SetState("slot " + slot)
		if err := move(ctx, slot, h.Fence()); err != nil {
			return err // failed
		}
		h.SetProgress(float64(i+1) / float64(len(slots)))
	}
	return nil // completed
}

// move stands for the real work. It refuses the fence of a runner that lost its action.
func move(ctx context.Context, _ string, _ uint64) error { return ctx.Err() }
