package postgres

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/internal/storetest"
)

// saveEnv names the variable with the number of the checkpoint that a child process saves before it dies.
const saveEnv = "KAPI_POSTGRES_TEST_SAVE"

func saveAndDie(dsn, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	s, err := Open(ctx, dsn, Options{})
	if err != nil {
		return err
	}
	return storetest.SaveAndDie(s, n)
}

// TestSavedSurvivesKills: a checkpoint that was acknowledged is there, although its process was killed at once.
func TestSavedSurvivesKills(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dsn := server.DSN(server.Database(t))
	storetest.Kills(t, func() store.Store { return openAt(t, dsn, Options{}) }, func(n int) *exec.Cmd {
		cmd := exec.Command(path)
		cmd.Env = append(os.Environ(), childEnv+"="+dsn, saveEnv+"="+strconv.Itoa(n), "GORACE=atexit_sleep_ms=0")
		return cmd
	})
}

// TestSavedWakesNobody: a commit that only saves and renews sends no notification, nor does an offer.
func TestSavedWakesNobody(t *testing.T) {
	s, database := newStore(t)
	conn, err := pgx.Connect(kapitest.Within(t), server.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(kapitest.Within(t), s.sql.listen); err != nil {
		t.Fatal(err)
	}
	err = s.Commit(kapitest.Within(t), store.Batch{Light: true}, func(l store.Loaded) (store.Writes, error) {
		return store.Writes{
			Head: l.Seq, Saved: []store.Saved{{Action: "a", Data: []byte("1")}}, Runners: []store.RunnerRecord{{ID: "r", Lease: time.Second}},
		}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Offer(kapitest.Within(t), "r", []store.OfferRecord{{Name: "o", About: []byte("{}")}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"mark", ""} {
		if want == "" {
			mustInsert(t, s, "a")
		} else {
			server.Exec(t, database, fmt.Sprintf("SELECT pg_notify('%s', '%s')", s.sql.channel, want))
		}
		if n, err := conn.WaitForNotification(kapitest.Within(t)); err != nil || n.Payload != want {
			t.Errorf("got the notification %+v, want %q (error: %v)", n, want, err)
		}
	}
}
