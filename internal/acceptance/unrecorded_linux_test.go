package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/kapitest"
)

// TestUnrecordedEnd: the store is gone when the command ends. Who asks kapi to end by then, at whatever
// moment, doesn't wait for the store to come back, and is told that the end is on no record.
func TestUnrecordedEnd(t *testing.T) {
	t.Parallel()
	binary := buildKapi(t)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		for _, late := range []bool{false, true} { // after kapi has said what it waits for
			t.Run(fmt.Sprint(sig, late), func(t *testing.T) {
				t.Parallel()
				k := install(t, binary)
				folder := filepath.Join(t.TempDir(), "folder")
				if err := os.Mkdir(folder, 0o700); err != nil {
					t.Fatal(err)
				}
				run := k.start("run", "--store", "sqlite:"+folder+"/k.db", "--", "sh", "-c", "rm -r "+folder+"; echo $$; exit 3")
				pid := run.line()
				kapitest.Eventually(t, "the command has ended", func() bool {
					_, err := os.Stat("/proc/" + pid)
					return err != nil
				})
				if late {
					kapitest.Eventually(t, "it says what it waits for", func() bool {
						return strings.Contains(run.stderr.String(), "can't be recorded yet")
					})
				}
				time.Sleep(200 * time.Millisecond) // a signal of the same moment could be the command's own
				run.signal(sig)
				if code := run.wait(); code != 3 || !strings.Contains(run.stderr.String(), "the command has ended (exit status 3), but that is on no record") {
					t.Errorf("it exits with %d and says: %s", code, run.stderr)
				}
			})
		}
	}
}
