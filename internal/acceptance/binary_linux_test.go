package acceptance

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
)

// buildKapi returns the binary, built the way it is released.
func buildKapi(t *testing.T) string {
	t.Helper()
	path, err := kapitest.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// An installation is a kapi binary with a store.
type installation struct {
	t      *testing.T
	binary string
	store  string
	env    []string

	// Set by serve:
	url, token string
}

func install(t *testing.T, binary string) *installation {
	t.Helper()
	k := &installation{t: t, binary: binary, store: "sqlite:" + filepath.Join(t.TempDir(), "kapi.db")}
	// Flags can be set by environment variables; those of whoever runs the test must not apply.
	k.env = slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, "KAPI_") || strings.HasPrefix(entry, "TERM=") || strings.HasPrefix(entry, "NO_COLOR=")
	})
	return k
}

// start starts a command of kapi on the store. words is the command, of one or two words.
func (k *installation) start(words string, args ...string) *process {
	k.t.Helper()
	return start(k.t, k.command(words, args...))
}

func (k *installation) command(words string, args ...string) *exec.Cmd {
	argv := append(strings.Fields(words), "--store", k.store)
	cmd := exec.Command(k.binary, append(argv, args...)...)
	cmd.Env = k.env
	return cmd
}

// run runs a command of kapi to its end.
func (k *installation) run(words string, args ...string) (stdout, stderr string, code int) {
	k.t.Helper()
	p := k.start(words, args...)
	_ = p.stdin.Close()
	lines := p.gather()
	code = p.wait()
	return strings.Join(lines(), "\n"), p.stderr.String(), code
}

// serve starts kapi serve, and creates an admin's token.
func (k *installation) serve() {
	k.t.Helper()
	k.serveOnly()
	token, stderr, code := k.run("token create", "--name", "test", "--perms", "admin")
	if code != 0 || token == "" {
		k.t.Fatalf("kapi token create exited with %d: %s", code, stderr)
	}
	k.token = token
}

// serveOnly starts kapi serve.
func (k *installation) serveOnly(args ...string) *process {
	k.t.Helper()
	p := k.start("serve", append([]string{"--listen", "127.0.0.1:0"}, args...)...)
	p.gather()
	address := regexp.MustCompile(`address=(http://\S+)`)
	kapitest.Eventually(k.t, "kapi serve prints its address", func() bool {
		said := address.FindStringSubmatch(p.stderr.String())
		if said != nil {
			k.url = said[1]
		}
		return said != nil
	})
	return p
}

// request sends a request to kapi serve as the admin.
func (k *installation) request(method, path string) (status int, body []byte) {
	k.t.Helper()
	req, err := http.NewRequestWithContext(k.t.Context(), method, k.url+path, http.NoBody)
	if err != nil {
		k.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+k.token)
	req.Close = true // so that goleak finds no connection
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		k.t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		k.t.Fatal(err)
	}
	return resp.StatusCode, body
}

// list returns the response to GET /v4/kapi/actions.
func (k *installation) list() (actions []kapi.Action) {
	k.t.Helper()
	status, body := k.request(http.MethodGet, "/v4/kapi/actions")
	if status != http.StatusOK {
		k.t.Fatalf("got status %d for the list: %s", status, body)
	}
	k.decode(body, &actions)
	return actions
}

// refusal checks that a request is refused with a status and a code.
func (k *installation) refusal(method, path string, wantStatus, wantCode int) {
	k.t.Helper()
	status, body := k.request(method, path)
	var refused struct {
		Code    int
		Message string
	}
	k.decode(body, &refused)
	if status != wantStatus || refused.Code != wantCode || refused.Message == "" {
		k.t.Errorf("%s %s: got %d %s, want %d with code %d", method, path, status, body, wantStatus, wantCode)
	}
}

// action parses a line of kapi watch --json.
func (k *installation) action(line string) (a kapi.Action) {
	k.t.Helper()
	k.decode([]byte(line), &a)
	return a
}

func (k *installation) decode(data []byte, into any) {
	k.t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		k.t.Fatalf("%q: %v", data, err)
	}
}
