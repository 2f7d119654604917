package supervise

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	runHelper()
	// What Catch sets up is for the life of the process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("os/signal.signal_recv"), goleak.IgnoreTopFunction("os/signal.loop"))
}
