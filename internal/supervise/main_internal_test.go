package supervise

import (
	"os"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	runHelper()
	// Started by nohup, the tests' processes would inherit that SIGHUP is ignored. One that
	// is caught goes back to its default in them.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	// What Catch sets up is for the life of the process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("os/signal.signal_recv"), goleak.IgnoreTopFunction("os/signal.loop"))
}
