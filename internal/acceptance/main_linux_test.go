package acceptance

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/kettubot/kapi/internal/pgtest"
)

// roleVariable names the role of a process started from the test binary.
const roleVariable = "ACCEPTANCE_ROLE"

// roles are the roles of processes started from the test binary.
var roles = map[string]func(args []string) error{
	"worker":  workerMain,
	"runner":  runnerMain,
	"within":  withinMain,
	"taker":   takerMain,
	"starter": starterMain,
	"saver":   saverMain,
	"limited": limitedMain,
}

// database is for tests that do it no harm.
var database *pgtest.Server

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := roles[role](os.Args[1:]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	var err error
	database, err = pgtest.New(pgtest.Options{Durable: true, Settings: map[string]string{"max_connections": "200"}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		database.Stop()
		os.Exit(code)
	}), goleak.IgnoreCurrent())
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }
