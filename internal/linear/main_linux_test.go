package linear

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// peerVariable tells a process that was started from the test binary to be a peer.
const peerVariable = "LINEAR_PEER"

func TestMain(m *testing.M) {
	if settings := os.Getenv(peerVariable); settings != "" {
		if err := peerMain(settings); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
