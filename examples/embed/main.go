// Embed is a service that runs its own resharding as an action, and lets admins watch and dismiss it
// over REST.
//
//	go run ./examples/embed
//
// prints an admin token and the address. POST /reshard starts the resharding; a second POST while it
// runs is answered with 409 and says who holds the key.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/server"
	"github.com/kettubot/kapi/sqlite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	path, err := storePath()
	if err != nil {
		return err
	}
	store, err := sqlite.Open(path)
	if err != nil {
		return err
	}
	p, err := peer.Open(ctx, store, peer.Options{Logger: slog.Default()})
	if err != nil {
		return err
	}
	defer p.Close() // asks operations to stop, and waits for the grace period

	secret, token, err := auth.New("example", auth.TypeUser, auth.Admin, time.Hour)
	if err != nil {
		return err
	}
	if err := store.AddToken(ctx, token); err != nil {
		return err
	}

	mux := http.NewServeMux()
	mux.Handle("/", server.New(p, server.Options{
		Authenticate: auth.NewAuthenticator(store).Authenticate,
		Hosts:        []string{"localhost"}, // protects a server on loopback from DNS rebinding
	}))
	mux.HandleFunc("POST /reshard", func(w http.ResponseWriter, r *http.Request) { startReshard(p, w, r) })

	web := &http.Server{Addr: "127.0.0.1:4081", Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		shutdown, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = web.Shutdown(shutdown)
	}()
	fmt.Printf("curl -X POST http://%s/reshard\n", web.Addr)
	fmt.Printf("curl -H 'Authorization: Bearer %s' http://%s/v4/kapi/actions\n", secret, web.Addr)
	if err := web.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// storePath returns a path in a folder where only this user can create files. In a shared folder,
// another user could have created a store of that name, and would be able to read it.
func storePath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "kapi-embed")
	return filepath.Join(dir, "kapi.db"), os.MkdirAll(dir, 0o700)
}

func startReshard(p *peer.Peer, w http.ResponseWriter, r *http.Request) {
	action, err := p.Start(r.Context(), kapi.Spec{Title: "Resharding", Keys: []string{"reshard"}}, reshard)
	var held *kapi.HeldError
	switch {
	case errors.As(err, &held):
		http.Error(w, held.Error(), http.StatusConflict)
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, "started", action.ID)
	}
}

// reshard moves slots. It passes its fence to whatever must refuse a stale holder.
func reshard(ctx context.Context, h kapi.Handle) error {
	const slots = 60
	for slot := range slots {
		h.SetState(fmt.Sprintf("slot %d", slot))
		if err := moveSlot(ctx, slot, h.Fence()); err != nil {
			return err // failed
		}
		h.SetProgress(float64(slot+1) / slots)
	}
	return nil // completed
}

// moveSlot stands in for the real work.
func moveSlot(ctx context.Context, _ int, _ uint64) error {
	select {
	case <-time.After(time.Second):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
