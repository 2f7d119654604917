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

// A store keeps actions and tokens.
type store interface {
	peer.Store
	auth.Tokens
	// Quiesce calls f while no write transaction of this process is open.
	Quiesce(f func())
}

// openStore opens the store that --store names. Warnings about it go to log, or to stderr if log is
// nil, as it is for all commands but kapi serve.
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
	o := sqlite.Options{Warn: func(text string) { a.eprintf("%s", text) }, Readers: 1, Cache: 256}
	if log != nil { // kapi serve
		o = sqlite.Options{Warn: func(text string) { log.Warn(text) }}
	}
	s, err := sqlite.OpenWith(ctx, path, o)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// storePath returns the file that --store names; store may be empty. The error doesn't quote store, which
// may hold a password.
func storePath(store string) (string, error) {
	scheme, path, _ := strings.Cut(store, ":")
	switch {
	case store == "":
		return defaultPath()
	case !strings.EqualFold(scheme, "sqlite") || strings.Contains(path, "://"):
		return "", usage("--store: not a store, use sqlite:PATH or postgres://USER@HOST:PORT/DATABASE")
	case path == "":
		return "", usage("--store: a path must follow sqlite:")
	}
	return path, nil
}

// defaultPath returns the default store, in the user's state directory (XDG Base Directory Specification).
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

// A session is an open store that this process has joined.
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
		// Close is called while a command runs only if the user has given up.
		Grace:        -1,
		StoreTimeout: a.storeTimeout,
		EndTimeout:   t.endTimeout,
	})
	if err != nil {
		return nil, err
	}
	return &session{peer, store}, nil
}

// close leaves the store. All changes are on disk by then, so an error makes no difference to the user.
func (s *session) close() { _ = s.Close() }

// storeName returns the --store of a store, without a password.
func storeName(s store) string {
	if file, ok := s.(*sqlite.Store); ok {
		return "sqlite:" + file.Path()
	}
	return fmt.Sprint(s)
}

// self returns the name of this program for commands that are shown to the user: kapi if that is what PATH
// has, otherwise the path it was started by.
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

// storeArgument returns the flags by which a command that is shown to the user finds the same place. It
// must work in any shell, as KAPI_STORE may have been set for this command alone. Only a store that a
// variable names with a password is left out: it must be set in that shell, too.
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

// shellQuote quotes a word for a POSIX shell, if it needs that.
func shellQuote(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./:@%+=,", r))
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// me names the user of this command, for logs and for the owners of the actions that it changes.
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

// shownID returns the id of an action or token for an error. A text that can't be an id is not repeated.
func shownID(id string) string {
	if !contract.IsID(id) {
		return "not an id"
	}
	return id
}

// each calls f for every id, and prints each error with its id.
func (a *app) each(ids []string, f func(id string) error) error {
	var failed error
	for _, id := range ids {
		err := f(id)
		switch {
		case errors.Is(err, kapi.ErrUnavailable), errors.Is(err, context.Canceled), exitCode(err) == exitForbidden:
			return err // the others would fail, too
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
