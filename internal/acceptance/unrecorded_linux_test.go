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

// TestUnrecordedEnd removes the store before the command ends. If kapi is then asked to end, at
// whatever moment, it doesn't wait for the store, and says that the end is not on record.
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
					kapitest.Eventually(t, "kapi says what it waits for", func() bool {
						return strings.Contains(run.stderr.String(), "can't be recorded yet")
					})
				}
				time.Sleep(200 * time.Millisecond) // a signal at the same moment could count as the command's
				run.signal(sig)
				if code := run.wait(); code != 3 || !strings.Contains(run.stderr.String(), "the command has ended (exit status 3), but that is not recorded") {
					t.Errorf("exited with %d and wrote: %s", code, run.stderr)
				}
			})
		}
	}
}
