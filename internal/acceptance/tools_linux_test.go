package acceptance

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi"
)

// drip serves a file of 4 MB in 40 pieces.
func drip(t *testing.T) string {
	t.Helper()
	const pieces, size = 40, 100_000
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(pieces*size))
		for range pieces {
			if _, err := w.Write(make([]byte, size)); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			time.Sleep(50 * time.Millisecond)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestToolsShowTheirProgress runs real, unmodified tools: the progress that they show becomes the
// action's.
func TestToolsShowTheirProgress(t *testing.T) {
	t.Parallel()
	binary := buildKapi(t)
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, make([]byte, 4_000_000), 0o600); err != nil {
		t.Fatal(err)
	}
	url := drip(t)
	for _, c := range []struct {
		name    string
		flags   []string
		command string
	}{
		{"pv", nil, "pv -f -i 0.1 -L 2m " + big + " >/dev/null"},
		{"rsync", nil, "rsync --info=progress2 --no-i-r --bwlimit=1500 " + big + " copy-rsync"},
		{"curl", []string{"--tty"}, "curl -# -o copy-curl " + url},
		{"wget", nil, "wget -O copy-wget " + url},
		{"wget on a terminal", []string{"--tty"}, "wget -O copy-wget2 " + url},
		{"dd", []string{"--progress", `^(\d+) bytes`, "--total", "4000000"}, "pv -q -L 1m " + big + " | dd of=/dev/null bs=10000 status=progress"},
		{"xz", []string{"--tty"}, "head -c 9000000 /dev/urandom > random; xz -v -k -T1 -9e random"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k := install(t, binary)
			watch := k.start("watch", "--json")
			began := k.start("run", "--", "sleep", "0.2") // so that watch has begun when it matters
			if code := began.wait(); code != 0 {
				t.Fatal(began.stderr)
			}
			args := append(append([]string{"--title", "tool"}, c.flags...), "--", "sh", "-c", "cd "+t.TempDir()+"; "+c.command)
			run := k.start("run", args...)
			said := run.gather()
			if code := run.wait(); code != 0 {
				t.Fatalf("exited with %d: %s%s", code, said(), run.stderr)
			}
			var shown []string
			last, between := 0.0, map[float64]bool{}
			for {
				a := k.action(watch.line())
				if a.Title != "tool" {
					continue
				}
				if a.Progress != nil {
					shown = append(shown, fmt.Sprint(*a.Progress))
					if *a.Progress < last {
						t.Errorf("the progress went from %v to %v", last, *a.Progress)
					}
					if last = *a.Progress; last > 0 && last < 1 {
						between[last] = true
					}
				}
				if !a.Status.Ongoing() {
					if a.Status != kapi.StatusCompleted {
						t.Errorf("it ended as %+v", a)
					}
					break
				}
			}
			if len(between) < 2 || last < 0.97 {
				t.Errorf("the progress was %v", shown)
			}
			watch.signal(syscall.SIGINT)
			watch.wait()
		})
	}
}
