package postgres

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/kettubot/kapi/internal/pgtest"
)

// server is shared by all tests that don't stop or change the server.
var server *pgtest.Server

func TestMain(m *testing.M) {
	if dsn := os.Getenv(childEnv); dsn != "" {
		run := func() error { return runChild(dsn) }
		if n := os.Getenv(saveEnv); n != "" {
			run = func() error { return saveAndDie(dsn, n) }
		}
		if err := run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv("KAPI_SOAK") == "" {
		_ = flag.Set("rapid.checks", "20") // each creates a schema and connections; 100 would take a minute
	}
	runtime, err := os.MkdirTemp("", "kapi-runtime") // only for this user
	if err == nil {
		err = os.Setenv("XDG_RUNTIME_DIR", runtime)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if server, err = pgtest.New(pgtest.Options{TCP: true, Settings: map[string]string{"max_connections": "60"}}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		server.Stop()
		_ = os.RemoveAll(runtime)
		os.Exit(code)
	}), goleak.IgnoreCurrent())
}
