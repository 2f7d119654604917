package acceptance

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/postgres"
	"github.com/kettubot/kapi/sqlite"
)

// onEachStore runs a test on a SQLite file, and on a PostgreSQL database that syncs to disk. store is a
// value for --store.
func onEachStore(t *testing.T, f func(t *testing.T, store string)) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		f(t, inFile(t))
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		f(t, inDatabase(t))
	})
}

func inFile(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "kapi.db") }

func inDatabase(t *testing.T) string { return database.DSN(database.Database(t)) }

// openStore opens the store that --store names.
func openStore(store string) (store.Store, error) {
	if path, ok := strings.CutPrefix(store, "sqlite:"); ok {
		return sqlite.Open(path)
	}
	ctx, cancel := context.WithTimeout(context.Background(), kapitest.Patience)
	defer cancel()
	return postgres.Open(ctx, store, postgres.Options{})
}
