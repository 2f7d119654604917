package kapi_test

import (
	"go/ast"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestRooms: the name of a test file says where its tests stand. x_internal_test.go is inside the package,
// x_test.go outside, so that it sees what users see.
func TestRooms(t *testing.T) {
	files := goFiles(t)
	outside := map[string]bool{} // folders of packages that can be tested from outside
	for _, f := range files {
		if !f.test && f.folder() != "bench" && f.tree.Name.Name != "main" && filepath.Base(f.name) != "doc.go" {
			outside[f.folder()] = true
		}
	}
	for _, f := range files {
		if !f.test {
			continue
		}
		topic, internal := f.topic()
		pkg := f.tree.Name.Name
		switch {
		case strings.HasPrefix(topic, "export"):
			if internal || strings.HasSuffix(pkg, "_test") || f.hasTests() {
				t.Errorf("%s exports internals to the tests outside: it must be in the package, and have no tests", f.name)
			}
		case !outside[f.folder()]:
			if internal {
				t.Errorf("%s: a program, or a package that has only tests, has no outside: leave out _internal", f.name)
			}
		case internal == strings.HasSuffix(pkg, "_test"):
			t.Errorf("%s is in package %s: call it x_internal_test.go inside the package, x_test.go outside", f.name, pkg)
		}
		if slices.Contains([]string{"", "more", "misc", "new", "old", "other", "others", "test", "tests", "util", "utils"}, strings.TrimRight(topic, "_0123456789")) {
			t.Errorf("%s names neither the file that it tests nor its topic", f.name)
		}
	}
}

func (f goFile) folder() string { return filepath.Dir(f.name) }

// topic returns the name of a test file without the parts that Go reads, and whether the name has _internal.
func (f goFile) topic() (topic string, internal bool) {
	topic = strings.TrimSuffix(filepath.Base(f.name), "_test.go")
	for {
		rest, last, found := cutLast(topic, "_")
		if !found || !isSystem(last) {
			break
		}
		topic = rest
	}
	return strings.CutSuffix(topic, "_internal")
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// isSystem reports whether the end of a file's name restricts it to some systems.
func isSystem(word string) bool {
	return slices.Contains([]string{"linux", "darwin", "windows", "unix", "bsd", "other", "amd64", "arm64"}, word)
}

func (f goFile) hasTests() bool {
	return slices.ContainsFunc(f.tree.Decls, func(d ast.Decl) bool {
		function, ok := d.(*ast.FuncDecl)
		return ok && function.Recv == nil && strings.HasPrefix(function.Name.Name, "Test")
	})
}
