package acceptance

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// roleVariable tells a process that was started from the test binary what to be.
const roleVariable = "ACCEPTANCE_ROLE"

// roles are what a process started from the test binary may be.
var roles = map[string]func(args []string) error{
	"worker": workerMain,
	"runner": runnerMain,
}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := roles[role](os.Args[1:]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }
