//go:build unix

package supervise

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func writeFile(t *testing.T, path, content string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLook(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	writeFile(t, "program", "#!/bin/sh\n", 0o755)
	writeFile(t, "data", "text", 0o644)
	t.Setenv("PATH", dir+string(os.PathListSeparator)+"/bin:/usr/bin")
	for _, c := range []struct {
		name string
		code int
		text string
	}{
		{"program", 0, ""},
		{"./program", 0, ""},
		{"sh", 0, ""},
		{"no-such-command", 127, "no-such-command: command not found"},
		{"./no-such-command", 127, "./no-such-command: command not found"},
		{"./data/program", 127, "./data/program: command not found"},
		{"", 127, `"": command not found`},
		{"./data", 126, "./data: can't be executed: permission denied"},
		{"data", 126, "data: can't be executed: permission denied: " + filepath.Join(dir, "data")},
		{"/", 126, "/: can't be executed: is a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path, err := Look(c.name)
			if c.code == 0 {
				if err != nil || path == "" {
					t.Fatalf("got %q, %v", path, err)
				}
				return
			}
			var e *ExecError
			if !errors.As(err, &e) {
				t.Fatalf("got %q, %v, want an *ExecError", path, err)
			}
			if e.Code != c.code || e.Error() != c.text {
				t.Errorf("got %d %q, want %d %q", e.Code, e.Error(), c.code, c.text)
			}
		})
	}
}

func TestLookInTheCurrentFolderOfPath(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFile(t, "program", "#!/bin/sh\n", 0o755)
	t.Setenv("PATH", ".")
	if path, err := Look("program"); err != nil || filepath.Base(path) != "program" {
		t.Errorf("got %q, %v", path, err)
	}
}

func TestStartThatFails(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name, content, text string
		code                int
	}{
		{"interpreter", "#!/no/such/interpreter\n", "can't be executed: the interpreter that it names does not exist", 126},
		{"gone", "", "command not found", 127},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(dir, c.name)
			if c.content != "" {
				writeFile(t, path, c.content, 0o755)
			}
			_, err := Start(Command{Path: path, Args: []string{c.name}, Stderr: os.Stderr})
			var e *ExecError
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an *ExecError", err)
			}
			if e.Code != c.code || e.Error() != c.name+": "+c.text {
				t.Errorf("got %d %q, want %d %q", e.Code, e.Error(), c.code, c.text)
			}
		})
	}
}

func TestStartWithTooLongArguments(t *testing.T) {
	_, err := Start(Command{Path: "/bin/true", Args: []string{"true", strings.Repeat("x", 1<<22)}, Stderr: os.Stderr})
	var e *ExecError
	if !errors.As(err, &e) || e.Code != 126 {
		t.Errorf("got %v, want 126", err)
	}
}

func TestEnviron(t *testing.T) {
	base := []string{"A=1", "KAPI_KEY=k", "KAPI_KEYS=other", "KAPI_ACTION=outer", "KAPI_FENCE=3", "KAPI_STORE=s", "B="}
	got := Environ(base, []string{"KAPI_KEY", "KAPI_TITLE"}, "inner", 42, "SECRET", "")
	want := []string{"A=1", "KAPI_KEYS=other", "KAPI_STORE=s", "B=", "KAPI_ACTION=inner", "KAPI_FENCE=42", "KAPI_NONCE=SECRET", "KAPI_WITHIN=outer"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if outer := Within(base); !slices.Equal(outer, []string{"outer"}) || Within(nil) != nil {
		t.Errorf("Within returned %q", outer)
	}
	got = Environ(append(got, "KAPI_KEYS=other"), nil, "innermost", 43, "SECRET", "")
	if nonces := Nonces(got); !slices.Equal(nonces, []string{"SECRET", "SECRET"}) {
		t.Errorf("Nonces returned %q: %q", nonces, got)
	}
	if outer := Within(got); !slices.Equal(outer, []string{"outer", "inner", "innermost"}) {
		t.Errorf("Within returned %q: %q", outer, got)
	}
	// Without a socket, notifications must not reach the action of an enclosing kapi run.
	around := []string{"KAPI_NOTIFY=/run/outer", "NOTIFY_SOCKET=/run/outer", "A=1"}
	if got, want = Environ(around, nil, "inner", 42, "SECRET", ""), []string{"A=1", "KAPI_ACTION=inner", "KAPI_FENCE=42", "KAPI_NONCE=SECRET"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	manager := []string{"KAPI_NOTIFY=/run/outer", "NOTIFY_SOCKET=/run/systemd/notify"}
	if got, want = Environ(manager, nil, "inner", 42, "SECRET", ""), []string{"NOTIFY_SOCKET=/run/systemd/notify", "KAPI_ACTION=inner", "KAPI_FENCE=42", "KAPI_NONCE=SECRET"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	alone := []string{"NOTIFY_SOCKET=/run/systemd/notify"}
	if got, want = Environ(alone, nil, "inner", 42, "SECRET", ""), []string{"NOTIFY_SOCKET=/run/systemd/notify", "KAPI_ACTION=inner", "KAPI_FENCE=42", "KAPI_NONCE=SECRET"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	got = Environ([]string{"NOTIFY_SOCKET=outer", "A=1"}, nil, "inner", 42, "SECRET", "/run/s")
	want = []string{"A=1", "KAPI_ACTION=inner", "KAPI_FENCE=42", "KAPI_NONCE=SECRET", "KAPI_NOTIFY=/run/s", "NOTIFY_SOCKET=/run/s"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
