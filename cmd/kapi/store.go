package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/asowner"
	contract "github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/postgres"
	"github.com/kettubot/kapi/sqlite"
)

// A store is where actions and tokens are.
type store interface {
	peer.Store
	auth.Tokens
	// Quiesce calls f while no write transaction of this process is open.
	Quiesce(f func())
}

// openStore opens the store that --store names. What an admin should know of it is told on stderr, or
// goes to the log if there is one.
func (a *app) openStore(ctx context.Context, log *slog.Logger) (store, error) {
	ctx, cancel := contract.WithPatience(ctx, a.storeTimeout)
	defer cancel(nil)
	if isPostgres(a.store) {
		s, err := postgres.Open(ctx, a.store, postgres.Options{Schema: a.storeSchema, ListenDSN: a.storeListen})
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	if a.storeSchema != "" || a.storeListen != "" {
		return nil, usage("--store-schema and --store-listen are for a PostgreSQL store: --store postgres://...")
	}
	if err := a.knowsPlace(); err != nil {
		return nil, err
	}
	path, err := storePath(a.store)
	if err != nil {
		return nil, err
	}
	if a.store == "" {
		if err := asowner.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, fmt.Errorf("store %s: %w: %w", path, kapi.ErrUnavailable, err)
		}
	}
	warn := func(text string) { a.eprintf("%s", text) }
	if log != nil {
		warn = func(text string) { log.Warn(text) }
	}
	s, err := sqlite.OpenWith(ctx, path, sqlite.Options{Warn: warn})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// storePath returns the file of a --store, which may be empty. The error has no word of it: what is no
// store may hold a password.
func storePath(store string) (string, error) {
	scheme, path, _ := strings.Cut(store, ":")
	switch {
	case store == "":
		return defaultPath()
	case !strings.EqualFold(scheme, "sqlite") || strings.Contains(path, "://"):
		return "", usage("--store: not a store, use sqlite:PATH or postgres://USER@HOST:PORT/DATABASE")
	case path == "":
		return "", usage("--store sqlite:: a path must follow")
	}
	return path, nil
}

// defaultPath is in the user's state directory, as the XDG Base Directory
// Specification has it.
func defaultPath() (string, error) {
	dir := os.Getenv("XDG_STATE_HOME")
	if runtime.GOOS == "windows" {
		dir = os.Getenv("LocalAppData")
	}
	if !filepath.IsAbs(dir) { // the specification says to ignore relative ones
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("%w: there is no state directory to keep it in (%w), use --store", kapi.ErrUnavailable, err)
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "kapi", "kapi.db"), nil
}

// A session is an open store and this process's part in it.
type session struct {
	*peer.Peer
	store store
}

// open joins the store.
func (a *app) open(ctx context.Context, t terms) (*session, error) {
	store, err := a.openStore(ctx, t.log)
	if err != nil {
		return nil, err
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	peer, err := peer.Open(ctx, store, peer.Options{
		Logger: t.log,
		// Close is called with a command running only if its user has given up.
		Grace:        -1,
		StoreTimeout: a.storeTimeout,
		EndTimeout:   t.endTimeout,
	})
	if err != nil {
		return nil, err
	}
	return &session{peer, store}, nil
}

// close leaves the store. What a command has done is on disk by then, so an error
// changes nothing for its user.
func (s *session) close() { _ = s.Close() }

// storeName names a store as --store takes it, without a password.
func storeName(s store) string {
	if file, ok := s.(*sqlite.Store); ok {
		return "sqlite:" + file.Path()
	}
	return fmt.Sprint(s)
}

// self is what this program is called in a command that is shown to the user: kapi, or as it was called
// now, if that is not what PATH has.
func (a *app) self() string {
	const usual = "kapi"
	if !strings.ContainsRune(a.name, filepath.Separator) {
		return usual
	}
	if found, err := exec.LookPath(usual); err == nil && sameFile(found, a.name) {
		return usual
	}
	return shellQuote(a.name)
}

func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	second, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(first, second)
}

// storeArgument is what a command that is shown to the user needs to find the same place, from whatever
// shell: where KAPI_STORE was set for this command alone, the user's shell has none. Only a store that a
// variable names with a password in it must be named by that again.
func (a *app) storeArgument() string {
	if a.server != "" {
		return "--server " + shellQuote(a.server) + " "
	}
	store := withoutPassword(a.store)
	if path, ok := strings.CutPrefix(store, "sqlite:"); ok {
		if path, err := filepath.Abs(path); err == nil {
			store = "sqlite:" + path
		}
	}
	words := ""
	switch {
	case store == "" && os.Getenv("KAPI_SERVER") != "":
		words = "--server '' "
	case store != "" && (store == a.store || a.given["store"] || !isPostgres(store)):
		words = "--store " + shellQuote(store) + " "
	}
	if a.storeSchema != "" {
		words += "--store-schema " + shellQuote(a.storeSchema) + " "
	}
	return words
}

// shellQuote makes a word that a POSIX shell takes as it is.
func shellQuote(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./:@%+=,", r))
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// me names who uses this command, for logs and for those whose action it touches.
func me() string {
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + host
}

// shownID names an action, or a token, that was asked for. What can be no id is not repeated.
func shownID(id string) string {
	if !contract.IsID(id) {
		return "what is no id"
	}
	return id
}

// each does f for every id and says what went wrong with which.
func (a *app) each(ids []string, f func(id string) error) error {
	var failed error
	for _, id := range ids {
		err := f(id)
		switch {
		case errors.Is(err, kapi.ErrUnavailable), errors.Is(err, context.Canceled), exitCode(err) == exitForbidden:
			return err // the others would fare no better
		case err != nil:
			a.eprintf("%s: %v", shownID(id), err)
			failed = exitStatus(exitOther)
		}
	}
	return failed
}

func writeln(w io.Writer, format string, args ...any) error {
	_, err := fmt.Fprintf(w, format+"\n", args...)
	return err
}
