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
	// Under nohup the tests' processes would inherit an ignored SIGHUP. A caught signal is reset to its
	// default in them.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	// Catch sets these up for the life of the process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("os/signal.signal_recv"), goleak.IgnoreTopFunction("os/signal.loop"))
}
