package nofile_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/kettubot/kapi/internal/nofile"
)

// Go's runtime raises the soft limit; Original returns the limit from before. (A test inside package nofile
// would add imports to the package, and so change when it is initialised.)
func TestOriginal(t *testing.T) {
	if os.Getenv("NOFILE_HELPER") != "" {
		soft, hard, ok := nofile.Original()
		if !ok || soft != 123 || hard != 456 {
			t.Fatalf("got %d, %d, %v; want 123 and 456", soft, hard, ok)
		}
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `ulimit -Sn 123 && ulimit -Hn 456 && exec "$@"`, "sh", self, "-test.run=^TestOriginal$")
	cmd.Env = append(os.Environ(), "NOFILE_HELPER=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
