package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/kettubot/kapi/internal/kapitest"
)

// A shell runs commands one after the other on a terminal of its own, as if they were typed.
type shell struct {
	t        *testing.T
	commands *os.File
	output   kapitest.Output
	read     int // how much of the output was returned
	began    time.Time
}

// loop runs the commands that arrive on descriptor 3, and prints the exit code of each after a mark.
// Each command finds the exit code of the one before in $?.
const loop = `code=0
while IFS= read -r -d '' -u 3 command; do
	(exit $code)
	eval "$command" 3<&-
	code=$?
	printf '\n\001%d\n' $code
done`

var mark = regexp.MustCompile(`\r?\n\x01(\d+)\r?\n`)

func newShell(t *testing.T, folder string, env []string) *shell {
	t.Helper()
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	sh := &shell{t: t, commands: ours, began: time.Now()}
	cmd := exec.Command("bash", "-c", loop)
	cmd.Dir, cmd.Env, cmd.ExtraFiles = folder, env, []*os.File{theirs}
	terminal, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		piece := make([]byte, 4096)
		for {
			n, err := terminal.Read(piece)
			_, _ = sh.output.Write(piece[:n])
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		ours.Close()
		// Commands that stay in the foreground are ended, too. The terminal reaches its end when all
		// processes are gone.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		_ = cmd.Wait()
		select {
		case <-done:
		case <-time.After(kapitest.Patience):
			t.Errorf("a process is left on the terminal")
		}
		terminal.Close()
		<-done
	})
	return sh
}

func (sh *shell) give(command string) {
	sh.t.Helper()
	if _, err := sh.commands.WriteString(command + "\x00"); err != nil {
		sh.t.Fatal(err)
	}
}

// run runs a command to its end, and returns its exit code and the lines that it printed.
func (sh *shell) run(command string) (code int, printed []string) {
	sh.t.Helper()
	sh.give(command)
	var end []int
	kapitest.Eventually(sh.t, command+" has ended", func() bool {
		end = mark.FindStringSubmatchIndex(sh.output.String()[sh.read:])
		return end != nil
	})
	text := sh.output.String()[sh.read:]
	sh.read += end[1]
	code, _ = strconv.Atoi(text[end[2]:end[3]])
	text = strings.ReplaceAll(text[:end[0]], "\r", "")
	if text = strings.TrimSuffix(text, "\n"); text == "" {
		return code, nil
	}
	return code, strings.Split(text, "\n")
}

// stay starts a command that keeps running, and returns the address, or the command, that it printed.
func (sh *shell) stay(command string) (printed string) {
	sh.t.Helper()
	sh.give(command)
	var found []string
	sh.t.Cleanup(func() {
		if found == nil {
			sh.t.Logf("$ %s\n%s", command, sh.output.String()[sh.read:])
		}
	})
	kapitest.Eventually(sh.t, command+" has printed what it begins with", func() bool {
		output := sh.output.String()[sh.read:]
		found = staying[command].FindStringSubmatch(output)
		if found == nil && mark.MatchString(output) {
			sh.t.Fatalf("$ %s\nhas ended", command)
		}
		return found != nil
	})
	return found[1]
}

// patient reports whether there is time to look again.
func (sh *shell) patient() bool {
	time.Sleep(20 * time.Millisecond)
	return time.Since(sh.began) < kapitest.Patience
}

// newcomer returns the environment of a user who has Go and never used kapi.
func newcomer(t *testing.T, home string) []string {
	t.Helper()
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "KAPI_") || strings.HasPrefix(v, "XDG_") || strings.HasPrefix(v, "GOFLAGS=") || strings.HasPrefix(v, roleVariable)
	})
	out, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE", "GOPATH", "GOPROXY").Output()
	if err != nil {
		t.Fatal(err)
	}
	where := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	temporary := filepath.Join(home, "tmp")
	if err := os.Mkdir(temporary, 0o700); err != nil {
		t.Fatal(err)
	}
	return append(env,
		"HOME="+home, "TMPDIR="+temporary, "TZ=UTC", "PWD="+home,
		"GOCACHE="+where[0], "GOMODCACHE="+where[1], "GOPATH="+where[2],
		// kapi's modules are in the module cache, so no network is needed.
		"GOPROXY=file://"+filepath.Join(where[1], "cache", "download")+","+where[3], "GONOSUMDB=*",
	)
}
