package linear

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// peerVariable makes a process started from the test binary a peer.
const peerVariable = "LINEAR_PEER"

func TestMain(m *testing.M) {
	if settings := os.Getenv(peerVariable); settings != "" {
		if err := peerMain(settings); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	remove, err := buildPeer()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		remove()
		os.Exit(code)
	}))
}

// peerBinary is the binary from which peers are started.
var peerBinary string

// buildPeer builds the test binary again without the race detector, as hundreds of peers are started
// from it. With KAPI_SOAK set, peers have the race detector, too.
func buildPeer() (remove func(), err error) {
	if os.Getenv("KAPI_SOAK") != "" {
		peerBinary, err = os.Executable()
		return func() {}, err
	}
	folder, err := os.MkdirTemp("", "kapi-linear-")
	if err != nil {
		return nil, err
	}
	remove = func() { _ = os.RemoveAll(folder) }
	peerBinary = filepath.Join(folder, "peer")
	cmd := exec.Command("go", "test", "-c", "-vet=off", "-o", peerBinary, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		remove()
		return nil, fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return remove, nil
}
