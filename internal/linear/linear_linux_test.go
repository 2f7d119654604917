package linear

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/sqlite"
)

// A backend is a store that the peers share.
type backend interface {
	// dsn returns the DSN for the peer in a slot.
	dsn(slot int) string
	// schema returns the schema in a database.
	schema() string
	// trouble plans the faults of a history.
	trouble(r *round)
	// read returns everything in the store, including what has ended.
	read(t *testing.T) []sight
}

// A file is the SQLite store.
type file struct{ path string }

func (f file) dsn(int) string { return "sqlite:" + f.path }

func (f file) schema() string { return "" }

func (f file) trouble(r *round) { r.troublePeers(3, 3) }

func (f file) read(t *testing.T) []sight {
	t.Helper()
	store, err := sqlite.Open(f.path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	return readAll(t, store)
}

func readAll(t *testing.T, store store.Store) (all []sight) {
	t.Helper()
	page, err := store.Feed(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range page.Records {
		s := seen(r.Action)
		s.Fence = r.Fence
		if r.Defined != nil {
			s.Saved = readPlace(t, store, r.ID)
		}
		all = append(all, s)
	}
	return all
}

// readPlace returns what is stored as the checkpoint of an action, nil if there is none.
func readPlace(t *testing.T, store store.Store, id string) *place {
	t.Helper()
	all, err := store.Saved(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, saved := range all {
		if saved.Name == "" {
			var at place
			if err := json.Unmarshal(saved.Data, &at); err != nil {
				t.Fatalf("the checkpoint of %s is %q: %v", id, saved.Data, err)
			}
			return &at
		}
	}
	return nil
}

// TestSQLite makes histories of a file that processes of one machine share.
func TestSQLite(t *testing.T) {
	for range histories(1) {
		t.Run("history", func(t *testing.T) {
			linearizable(t, file{filepath.Join(t.TempDir(), "kapi.db")}, newSeed(t, 0))
		})
	}
}

// TestPostgreSQL makes histories of databases on two servers that run in parallel.
func TestPostgreSQL(t *testing.T) {
	for range 2 {
		t.Run("server", func(t *testing.T) {
			t.Parallel()
			server := newServer(t)
			for i := range histories(10) {
				t.Run("history", func(t *testing.T) {
					seed := newSeed(t, uint64(i))
					linearizable(t, newDatabase(t, server, seed), seed)
				})
			}
		})
	}
}

// histories returns how many histories to make.
func histories(few int) int {
	if os.Getenv("KAPI_SOAK") != "" {
		return 50 * few
	}
	return few
}

// seedVariable repeats the seed of a history that failed.
const seedVariable = "LINEAR_SEED"

// newSeed returns the seed in LINEAR_SEED, or a random one with the lowest bit of like. That bit says
// whether the database is killed.
func newSeed(t *testing.T, like uint64) uint64 {
	t.Helper()
	text := os.Getenv(seedVariable)
	if text == "" {
		return rand.Uint64()&^1 | like&1
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return seed
}

// linearizable makes a history and checks that it follows the rules.
func linearizable(t *testing.T, store backend, seed uint64) {
	t.Helper()
	r, m, all := run(t, store, seed, noBug)
	r.judge(m.rules(), all, seed)
}

// judge fails the test unless the history follows the rules.
func (r *round) judge(m rules, all []operation, seed uint64) {
	t := r.t
	t.Helper()
	began := time.Now()
	result, info := check(m, all)
	t.Logf("seed %d: %s, checked in %v", seed, summary(all), time.Since(began))
	if result == porcupine.Ok && !t.Failed() {
		return
	}
	picture(t, m, all, info)
	for _, line := range r.log {
		t.Log(line)
	}
	t.Fatalf("the history of %s=%d is %s", seedVariable, seed, result)
}

// tries is within how many histories a bug must be found.
const tries = 5

// A checker that doesn't find bugs is worthless.
func TestBugsAreFound(t *testing.T) {
	server := newServer(t)
	for _, b := range []bug{keysUnchecked, fenceIgnored, tooEarly} {
		t.Run(string(b), func(t *testing.T) {
			for try := range tries {
				seed := newSeed(t, 0)
				_, m, all := run(t, newDatabase(t, server, seed), seed, b)
				result, _ := check(m.rules(), all)
				t.Logf("history %d is %s: %s", try, result, summary(all))
				if result == porcupine.Illegal {
					return
				}
			}
			t.Errorf("no bug found in %d histories", tries)
		})
	}
	takeoverBugsAreFound(t, server)
}
