package kapi_test

import (
	"bufio"
	"errors"
	"go/build"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/kettubot/kapi"

// may is the third column of docs/architecture.md: the folders of this module, and the other
// modules, that a folder's package may import. Every package may import the standard library.
var may = map[string][]string{
	".":                   {"internal/wellformed"},
	"auth":                {"internal/scheme"},
	"sqlite":              {".", "auth", "internal/asowner", "internal/backoff", "internal/fault", "internal/keep", "internal/store", "zombiezen.com/go/sqlite", "github.com/fsnotify/fsnotify", "golang.org/x/sys"},
	"postgres":            {".", "auth", "peer", "internal/backoff", "internal/keep", "internal/store", "github.com/jackc/pgx/v5", "golang.org/x/sys"},
	"peer":                {".", "internal/backoff", "internal/store", "internal/rules", "internal/wire", "internal/fault", "internal/proc", "internal/wellformed"},
	"gateway":             {".", "auth", "peer", "internal/scheme", "internal/wire", "internal/origin", "internal/conns", "github.com/coder/websocket", "golang.org/x/time"},
	"server":              {".", "auth", "peer", "gateway", "internal/scheme", "internal/wire", "internal/origin", "internal/conns", "internal/wellformed", "golang.org/x/time"},
	"operation":           {".", "github.com/google/jsonschema-go"},
	"metrics":             {".", "peer", "gateway", "server", "github.com/prometheus/client_golang"},
	"client":              {".", "auth", "internal/backoff", "internal/scheme", "internal/wire", "internal/fault", "github.com/coder/websocket", "internal/wellformed"},
	"internal/store":      {"."},
	"internal/wire":       {".", "auth", "internal/wellformed"},
	"internal/rules":      {".", "internal/store", "internal/wellformed"},
	"internal/backoff":    {},
	"internal/asowner":    {"golang.org/x/sys"},
	"internal/keep":       {"golang.org/x/sys"},
	"internal/fault":      {"internal/backoff"},
	"internal/proc":       {"golang.org/x/sys"},
	"internal/progress":   {},
	"internal/notify":     {"internal/fault", "golang.org/x/sys"},
	"internal/nofile":     {},
	"internal/supervise":  {"internal/fault", "internal/nofile", "internal/proc", "internal/progress", "github.com/creack/pty", "golang.org/x/sys", "golang.org/x/term"},
	"internal/storetest":  {".", "auth", "peer", "internal/store", "pgregory.net/rapid"},
	"internal/origin":     {},
	"internal/scheme":     {},
	"internal/conns":      {},
	"internal/wellformed": {},
	"internal/badnet":     {},
	"internal/pgtest":     {"github.com/jackc/pgx/v5"},
	"internal/kapitest":   {"golang.org/x/sys"},
	"internal/notices":    {},
	"internal/acceptance": {anything},
	"internal/browser":    {anything},
	"internal/linear":     {anything},
	"cmd/kapi":            {anything},
	"examples":            {anything},
}

const anything = "anything"

// Imports go one way, on every system. So a program that embeds kapi links no more than it uses, and
// the rules can be read without knowing a store.
func TestImports(t *testing.T) {
	unused := maps.Clone(may)
	for _, folder := range folders(t) {
		row := folder
		if strings.HasPrefix(folder, "examples/") {
			row = "examples"
		}
		allowed, ok := may[row]
		if !ok {
			t.Errorf("%s is a new package: list here and in docs/architecture.md what it may import", folder)
		}
		delete(unused, row)
		if slices.Contains(allowed, anything) {
			continue
		}
		for path, system := range imports(t, folder) {
			if !slices.ContainsFunc(allowed, func(a string) bool { return covers(a, path) }) {
				t.Errorf("%s imports %s (on %s); it may only import %v", folder, path, system, allowed)
			}
		}
	}
	for row := range unused {
		t.Errorf("package %s no longer exists", row)
	}
}

// covers reports whether an entry of may allows an import. A folder allows itself, a module all its
// packages.
func covers(allowed, path string) bool {
	local, ok := strings.CutPrefix(path, module)
	if ok {
		return allowed == strings.TrimPrefix(local, "/") || allowed == "." && local == ""
	}
	return path == allowed || strings.HasPrefix(path, allowed+"/")
}

// folders lists the folders of the module that have Go files other than tests.
func folders(t *testing.T) (all []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() && path != "." && exists(path+"/go.mod"): // a module of its own
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go"):
			all = append(all, filepath.ToSlash(filepath.Dir(path)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// imports returns what a package imports outside the standard library, and on which system.
func imports(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, system := range []string{"linux", "darwin", "windows"} {
		context := build.Default
		context.GOOS, context.CgoEnabled = system, false
		p, err := context.ImportDir(folder, 0)
		var none *build.NoGoError
		if err != nil && !errors.As(err, &none) {
			t.Fatal(err)
		}
		for _, path := range p.Imports {
			if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") {
				all[path] = system
			}
		}
	}
	return all
}

// TestImportsAsDocumented: docs/architecture.md lists the same imports between the module's own packages.
func TestImportsAsDocumented(t *testing.T) {
	file, err := os.Open("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	documented := map[string]bool{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		cells := strings.Split(lines.Text(), "|")
		if len(cells) != 5 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		folder := strings.TrimSuffix(strings.Trim(cells[1], " `"), "/")
		allowed, ok := may[folder]
		if !ok {
			continue // a module of its own, or another table
		}
		documented[folder] = true
		var says, does []string
		for i, word := range strings.Split(cells[3], "`") {
			switch {
			case i%2 == 1 && word == "kapi":
				says = append(says, ".")
			case i%2 == 1:
				says = append(says, word)
			case strings.Contains(word, anything):
				says = append(says, anything)
			}
		}
		for _, a := range allowed {
			if _, own := may[a]; own || a == anything {
				does = append(does, a)
			}
		}
		slices.Sort(says)
		slices.Sort(does)
		if !slices.Equal(says, does) {
			t.Errorf("docs/architecture.md lets %s import %v, this test %v", folder, says, does)
		}
	}
	for folder := range may {
		if !documented[folder] && folder != "examples" {
			t.Errorf("docs/architecture.md says nothing of %s", folder)
		}
	}
}
