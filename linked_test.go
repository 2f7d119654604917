package kapi_test

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestLinked: importing a package links everything that it imports. A client links neither engine nor
// stores, and only the stores, and programs that choose one, link a driver.
func TestLinked(t *testing.T) {
	linked := map[string][]string{}
	var link func(folder string) []string
	link = func(folder string) []string {
		if all, ok := linked[folder]; ok {
			return all
		}
		var all []string
		for path := range imports(t, folder) {
			all = append(all, path)
			if local, ok := strings.CutPrefix(path, module); ok {
				all = append(all, link(cmp.Or(strings.TrimPrefix(local, "/"), "."))...)
			}
		}
		slices.Sort(all)
		linked[folder] = slices.Compact(all)
		return linked[folder]
	}
	drivers := []string{"zombiezen.com/go/sqlite", "modernc.org/sqlite", "github.com/jackc/pgx/v5"}
	chooses := []string{"sqlite", "postgres", "internal/pgtest", "cmd/kapi", "internal/acceptance", "internal/browser", "internal/linear", "examples/embed"}
	for _, folder := range folders(t) {
		for _, path := range link(folder) {
			for _, driver := range drivers {
				if (path == driver || strings.HasPrefix(path, driver+"/")) && !slices.Contains(chooses, folder) {
					t.Errorf("%s links %s", folder, path)
				}
			}
			for _, part := range []string{"/peer", "/internal/rules", "/internal/store", "/sqlite", "/postgres", "/server", "/gateway"} {
				if folder == "client" && path == module+part {
					t.Errorf("client links %s", path)
				}
			}
		}
	}
	if all := linked["peer"]; !slices.Contains(all, module+"/internal/rules") {
		t.Errorf("the engine links %v", all)
	}
}

// pure has the packages of the standard library that the rules may import. If names are listed, only these
// may be used: the values in package time, and what doesn't write in package fmt.
var pure = map[string][]string{
	"bytes": nil, "cmp": nil, "encoding/json": nil, "errors": nil, "maps": nil, "math": nil, "slices": nil,
	"strings": nil, "unicode/utf8": nil,
	"fmt":  {"Sprint", "Sprintf"},
	"time": {"Duration", "Millisecond", "Second", "Minute", "Hour", "UnixMilli", "RFC3339"},
}

// TestRulesArePure: the rules see no lock, clock, context, process or network. TestImports says which of
// kapi's packages they may import.
func TestRulesArePure(t *testing.T) {
	files, err := filepath.Glob("internal/rules/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range file.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := pure[path]; !ok && path != module && !strings.HasPrefix(path, module+"/") {
				t.Errorf("%s imports %s", name, path)
			}
			if i.Name != nil {
				t.Errorf("%s imports %s under another name, which hides what it uses", name, path)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				x, ok := n.X.(*ast.Ident)
				if !ok {
					break
				}
				if names := pure[x.Name]; names != nil && !slices.Contains(names, n.Sel.Name) {
					t.Errorf("%s uses %s.%s", name, x.Name, n.Sel.Name)
				}
			case *ast.GoStmt, *ast.ChanType, *ast.SelectStmt:
				t.Errorf("%s has a goroutine or a channel", name)
			}
			return true
		})
	}
}
