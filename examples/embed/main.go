// Embed is a service that has users of its own, and offers two operations: a newsletter, which goes on where it stopped
// whatever dies, and an export. Its users start them through a handler of the service; admins also from a terminal and
// over REST, where they watch, pause and cancel them.
//
//	go run ./examples/embed
//
// prints commands to try, and README.md the rest. operations.go has the operations.
package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/server"
	"github.com/kettubot/kapi/sqlite"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:4081", "address to serve")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, listen string) error {
	folder, err := ownFolder()
	if err != nil {
		return err
	}
	ann, err := readUser(folder, "7", "ann")
	if err != nil {
		return err
	}
	store, err := sqlite.Open(filepath.Join(folder, "kapi.db"))
	if err != nil {
		return err
	}
	mailing := &mailing{outbox: filepath.Join(folder, "outbox"), customers: customers()}
	if err := os.MkdirAll(mailing.outbox, 0o700); err != nil {
		return errors.Join(err, store.Close())
	}
	p, err := peer.Open(ctx, store, peer.Options{
		Logger:     slog.Default(),
		Operations: []kapi.Definition{mailing.newsletter(), mailing.export(folder)},
	})
	if err != nil {
		return err
	}
	err = serve(ctx, p, ann, listen)
	// Close asks the operations to stop, and waits. The newsletter is handed over: the next process goes on with it.
	return errors.Join(err, p.Close())
}

// serve answers requests until ctx ends.
func serve(ctx context.Context, p *peer.Peer, ann *user, listen string) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", server.New(p, server.Options{
		Authenticate: ann.authenticate,
		Hosts:        []string{"localhost"}, // protects a server on loopback from DNS rebinding
	}))
	mux.HandleFunc("POST /newsletter", func(w http.ResponseWriter, r *http.Request) { sendNewsletter(p, ann, w, r) })

	web := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	fmt.Printf("export KAPI_SERVER=http://%s KAPI_TOKEN=%s\n", listener.Addr(), ann.secret)
	fmt.Printf("curl -H 'Authorization: Bearer %s' -d subject=Hello http://%s/newsletter\n", ann.secret, listener.Addr())
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	shutdown, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return web.Shutdown(shutdown)
}

// sendNewsletter starts the newsletter from a form of the service.
func sendNewsletter(p *peer.Peer, ann *user, w http.ResponseWriter, r *http.Request) {
	who, err := ann.authenticate(r)
	if err != nil {
		http.Error(w, "sign in first", http.StatusUnauthorized)
		return
	}
	arguments, err := json.Marshal(newsletter{Subject: r.FormValue("subject")})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	started, err := p.StartOperation(r.Context(), "newsletter", arguments, kapi.StartOptions{By: who.Name})
	var held *kapi.HeldError         // another newsletter is being sent, or has failed
	var wrong *kapi.ArgumentsError   // such as a subject that is too long
	var refused *kapi.PreflightError // there is no outbox
	switch {
	case errors.As(err, &held):
		http.Error(w, held.Error(), http.StatusConflict)
	case errors.As(err, &wrong), errors.As(err, &refused):
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
	case err != nil:
		slog.Error("start the newsletter", "error", err)
		http.Error(w, "try again later", http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, "started", started.Action.ID)
	}
}

// A user is one of the service's own. This service has one; yours looks for a session or a token in its own tables.
type user struct{ id, name, secret string }

// readUser reads a user's secret from the folder, or makes one.
func readUser(folder, id, name string) (*user, error) {
	path := filepath.Join(folder, name)
	secret, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		secret = []byte(rand.Text())
		err = os.WriteFile(path, secret, 0o600)
	}
	return &user{id, name, string(secret)}, err
}

// authenticate tells kapi who sent a request, and what they may do. Only admins start operations over REST; others do
// through handlers of your own, which decide that themselves.
func (u *user) authenticate(r *http.Request) (auth.Identity, error) {
	secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case !ok:
		return auth.Identity{}, auth.ErrNoToken
	case subtle.ConstantTimeCompare([]byte(secret), []byte(u.secret)) != 1:
		return auth.Identity{}, auth.ErrInvalidToken
	}
	return auth.Identity{ID: u.id, Name: u.name, Type: auth.TypeUser, Permissions: auth.Admin}, nil
}

// ownFolder returns a folder where only this user can create files. In a shared folder, another user could have created
// a store of that name, and would be able to read it.
func ownFolder() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "kapi-embed")
	return dir, os.MkdirAll(dir, 0o700)
}
