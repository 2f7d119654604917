package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/sqlite"
)

// openStore opens the store that --store names.
func (a *app) openStore() (*sqlite.Store, error) {
	path, err := storePath(a.store)
	if err != nil {
		return nil, err
	}
	if a.store == "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, fmt.Errorf("store %s: %w: %w", path, kapi.ErrUnavailable, err)
		}
	}
	return sqlite.Open(path)
}

// storePath returns the file of a --store, which may be empty.
func storePath(store string) (string, error) {
	scheme, rest, ok := strings.Cut(store, ":")
	switch {
	case store == "":
		return defaultPath()
	case ok && scheme == "sqlite" && rest != "":
		return rest, nil
	case ok && scheme == "sqlite":
		return "", usage("--store %s: a path must follow", store)
	case ok && (scheme == "postgres" || scheme == "postgresql"):
		// The rest may hold a password.
		return "", usage("--store %s:...: this version of kapi has no PostgreSQL store, use sqlite:PATH", scheme)
	}
	return "", usage("--store %s: not a store, use sqlite:PATH", store)
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
	*kapi.Peer
	store *sqlite.Store
}

// open joins the store.
func (a *app) open(ctx context.Context, t terms) (*session, error) {
	store, err := a.openStore()
	if err != nil {
		return nil, err
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	peer, err := kapi.Open(ctx, store, kapi.Options{
		Logger: t.log,
		// Close is called with a command running only if its user has given up.
		Grace:      -1,
		EndTimeout: t.endTimeout,
	})
	if err != nil {
		return nil, err
	}
	return &session{peer, store}, nil
}

// close leaves the store. What a command has done is on disk by then, so an error
// changes nothing for its user.
func (s *session) close() { _ = s.Close() }

// storeName names a store as --store takes it.
func storeName(s *sqlite.Store) string { return "sqlite:" + s.Path() }

// storeArgument is what a command that is shown to the user needs to find the same
// place.
func (a *app) storeArgument() string {
	if a.server != "" && a.server != os.Getenv("KAPI_SERVER") {
		return "--server " + shellQuote(a.server) + " "
	}
	if a.store == "" || a.store == os.Getenv("KAPI_STORE") {
		return ""
	}
	return "--store " + shellQuote(a.store) + " "
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

// each does f for every id and says what went wrong with which.
func (a *app) each(ids []string, f func(id string) error) error {
	var failed error
	for _, id := range ids {
		err := f(id)
		switch {
		case errors.Is(err, kapi.ErrUnavailable), errors.Is(err, context.Canceled), exitCode(err) == exitForbidden:
			return err // the others would fare no better
		case err != nil:
			a.tell("%s: %v", id, err)
			failed = exitStatus(exitOther)
		}
	}
	return failed
}

func writeln(w io.Writer, format string, args ...any) error {
	_, err := fmt.Fprintf(w, format+"\n", args...)
	return err
}
