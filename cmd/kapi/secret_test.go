package main

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	contract "github.com/kettubot/kapi/internal/store"
)

// misplaced returns words that contain a secret, which is or contains Hunter2 or Sesame.
func misplaced() []string {
	const token = "c29tZWlk.MTIzNDU2Nzg.Hunter2SesameHunter2SesameHunter2"
	return []string{
		"postgres://k:Hunter2@h/d", "POSTGRES://k:Hunter2@h/d", "  postgres://k:Hunter2@h/d", "postgres://k:Hunter2 Sesame@h/d",
		"postgres://k:Hunter2@Sesame/77@h/d", "postgres://k:Hunter2%zzSesame@h/d", "postgres://h/d?password=Hunter2&sslpassword=Sesame",
		"postgres://Hunter2@h/d", "postgres:k:Hunter2@h/d", "host=h user=k password=Hunter2", "host=h password = 'Hunter2 Sesame'", "sslpassword=Sesame",
		"mysql://u:Hunter2@h", "redis://:Hunter2@h", "jdbc:postgresql://h/d?password=Hunter2", "k:Hunter2@h", "sqlite:postgres://k:Hunter2@h/d",
		"http://u:Hunter2@127.0.0.1:1", "http://Hunter2@127.0.0.1:1", "http://u:Hunter2/Sesame@127.0.0.1:1", "http://u:22/Sesame@127.0.0.1:1",
		"HTTP://u:Hunter2@127.0.0.1:1", "http://127.0.0.1:1/?token=Hunter2", "http://127.0.0.1:1/#Sesame", "http://127.0.0.1:1/\x00Sesame",
		token, "Bearer " + token, "Bot " + token, token + "\r\n", "Hunter2 Sesame", "HUNTER2\"SESAME", "Hunter2\nSesame", "10Hunter2", "-5Sesame", "12,Sesame,9",
		"(Hunter2", "Hunter2\xffSesame", "Sesame\u202e", "hunter2/sesame",
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	t.Chdir(t.TempDir())
	// These accept any value, and then run a command or create a file.
	free := []string{"key", "title", "description", "name", "listen", "tls-cert", "tls-key", "metrics-listen", "help"}
	parser, err := newParser(new(cli))
	if err != nil {
		t.Fatal(err)
	}
	var flags []string
	owner := map[string]string{"nonsense": "ls", "t": "ls"}
	for _, node := range append(parser.Model.Children, parser.Model.Node) {
		for _, flag := range node.Flags {
			if !slices.Contains(free, flag.Name) {
				flags, owner[flag.Name] = append(flags, flag.Name), cmp.Or(strings.TrimPrefix(node.Name, "kapi"), "ls")
			}
		}
	}
	commands := [][]string{{"ls"}, {"watch"}, {"token", "ls"}, {"dismiss", "x"}, {"cancel", "x"}, {"completion", "bash"}, {"version"}}
	for i, secret := range misplaced() {
		ends := [][]string{commands[i%len(commands)], commands[(i+3)%len(commands)]}
		for _, place := range []string{"store", "server"} { // words that fit the flag and words that don't
			for _, end := range ends {
				refuses(t, append(slices.Clone(end), "--"+place, secret)...)
			}
		}
		refuses(t, "ls", "--store-listen", secret, "--store", "postgres://127.0.0.1:1/d")
		refuses(t, "ls", "--store-schema", secret, "--store", "postgres://127.0.0.1:1/d")
		refuses(t, "ls", "--token", secret, "--server", "http://127.0.0.1:1")
		for j, flag := range append(flags, "nonsense", "t") {
			if (i+j)%8 == 0 { // each secret with some of the flags
				refuses(t, owner[flag], "--"+flag+"="+secret, "--nonsense")
				refuses(t, owner[flag], "--nonsense", "--"+flag, secret)
				if owner[flag] != "run" { // for run, the word may be the command
					refuses(t, owner[flag], "--"+flag, secret, "--nonsense")
				}
			}
		}
		refuses(t, "serve", "--listen", strings.ReplaceAll(secret, ":", ""))
		refuses(t, "serve", "--metrics-listen", strings.ReplaceAll(secret, ":", ""), "--listen", "127.0.0.1:0")
		refuses(t, "run", "--schema", "--", secret)
		refuses(t, secret)
		refuses(t, "--"+secret)
		refuses(t, "-"+secret)
		for _, end := range ends {
			refuses(t, append(slices.Clone(end), "/"+secret)...)
			refuses(t, append(slices.Clone(end), "--"+secret)...)
			refuses(t, append([]string{secret}, end...)...)
		}
		for _, args := range [][]string{{"token", "revoke"}, {"dismiss"}, {"cancel"}, {"watch"}, {"token", "create", "--name", "n", "--perms"}} {
			if !contract.IsID(secret) { // a possible id is named in the error
				refuses(t, append(args, secret)...)
			}
		}
	}
}

func refuses(t *testing.T, args ...string) {
	t.Helper()
	says(t, append(args, "--store-timeout=5ms")...)
}

// says runs a command line of kapi, and fails if its output has the secret.
func says(t *testing.T, args ...string) {
	t.Helper()
	var out bytes.Buffer
	a := &app{stdout: &out, stderr: &out}
	code := a.main(args)
	said := strings.ToLower(out.String())
	if strings.Contains(said, "hunter2") || strings.Contains(said, "sesame") {
		t.Errorf("kapi %q printed a secret: %s", args, out.String())
	}
	if code == exitFault {
		t.Errorf("kapi %q panicked: %s", args, out.String())
	}
}

func TestSecretsOfVariablesAreNotPrinted(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	t.Chdir(t.TempDir())
	for _, secret := range misplaced() {
		if strings.ContainsRune(secret, 0) {
			continue // a variable can't contain it
		}
		for _, name := range []string{"KAPI_STORE", "KAPI_SERVER", "KAPI_STORE_TIMEOUT", "KAPI_JSON", "KAPI_STORE_LISTEN"} {
			t.Run(name, func(t *testing.T) {
				t.Setenv(name, secret)
				if name == "KAPI_STORE_LISTEN" {
					t.Setenv("KAPI_STORE", "postgres://127.0.0.1:1/d")
				}
				if name == "KAPI_STORE_TIMEOUT" {
					says(t, "ls")
					return
				}
				refuses(t, "ls")
			})
		}
	}
}

// A token is not printed, even if the answer of a server repeats it.
func TestTokenIsNotPrinted(t *testing.T) {
	const token = "Hunter2Sesame"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `{"message":"go away, %s"}`, r.Header.Get("Authorization"))
	}))
	defer server.Close()
	for _, word := range []string{token, "Bearer " + token, " " + token + "\r\n"} {
		says(t, "ls", "--server", server.URL, "--token", word)
		says(t, "ls", "--server", server.URL, "--token="+word)
		t.Setenv("KAPI_TOKEN", word)
		says(t, "ls", "--server", server.URL)
		t.Setenv("KAPI_TOKEN", "")
	}
}

func TestLogHidesSecrets(t *testing.T) {
	var out bytes.Buffer
	a := &app{stderr: &out, secrets: secretsOf([]string{"serve", "--store", "postgres://k:Hunter2\"Sesame@h/d"}, nil)}
	for _, format := range []string{"json", "text"} {
		c := serveCmd{LogFormat: format, LogLevel: "info"}
		c.logger(a).Error("can't", "error", "no Hunter2\"Sesame", "store", "postgres://k:Hunter2\"Sesame@h/d")
	}
	if said := out.String(); strings.Contains(said, "Hunter2") || strings.Contains(said, "Sesame") || strings.Count(said, hidden) != 4 {
		t.Error(said)
	}
}

// A token that is sent over http to another machine gives one warning.
func TestTokenOverHTTP(t *testing.T) {
	const warning = "kapi: warning: the token is sent to HOST over http, so anyone on the way can read it; use https://\n"
	for _, c := range []struct{ server, token, host string }{
		{"http://192.0.2.1:4080", "x", "192.0.2.1"},
		{"HTTP://kapi.example/prefix", "x", "kapi.example"},
		{"http://localhost.example", "x", "localhost.example"},
		{"http://[2001:db8::1]:1", "x", "2001:db8::1"},
		{"http://kapi.example", "", ""},
		{"https://kapi.example", "x", ""},
		{"http://127.0.0.1:1", "x", ""},
		{"http://127.9.9.9", "x", ""},
		{"http://[::1]:1", "x", ""},
		{"http://[::ffff:127.0.0.1]:1", "x", ""},
		{"http://LOCALHOST:1", "x", ""},
		{"http://kapi.localhost.", "x", ""},
	} {
		var out bytes.Buffer
		a := &app{stderr: &out, server: c.server, token: c.token}
		if err := a.with(t.Context(), func(place) error { return nil }); err != nil {
			t.Errorf("%s: %v", c.server, err)
		}
		want := ""
		if c.host != "" {
			want = strings.Replace(warning, "HOST", c.host, 1)
		}
		if out.String() != want {
			t.Errorf("%s, token %q: %q", c.server, c.token, out.String())
		}
	}
}
