package kapi_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// The limits that CONTRIBUTING.md gives for files and functions, in lines.
const (
	longestFile, longestTestFile = 300, 400
	longestFunction              = 50
	// For a test, without its tables, and without the functions in it, which are counted separately.
	longestTestFunction = 60
)

// longer has the files and functions that may be longer, each with the reason.
var longer = map[string]string{
	"postgres/statements.go newStatements": "a table of the SQL",
}

// TestFilesAndFunctionsFit: a file or function above its limit has a part that should have a name.
func TestFilesAndFunctionsFit(t *testing.T) {
	unused := map[string]bool{}
	for name := range longer {
		unused[name] = true
	}
	fits := func(name string, lines, longest int) {
		if lines <= longest {
			return
		}
		if longer[name] == "" {
			t.Errorf("%s has %d lines, want at most %d", name, lines, longest)
		}
		delete(unused, name)
	}
	for _, f := range goFiles(t) {
		file, function := longestFile, longestFunction
		if f.test {
			file, function = longestTestFile, longestTestFunction
		}
		fits(f.name, f.line(f.tree.FileEnd)-1, file)
		name := ""
		ast.Inspect(f.tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if name = f.name + " " + n.Name.Name; n.Body != nil {
					fits(name, f.lines(n.Body), function)
				}
			case *ast.FuncLit:
				fits(name, f.lines(n.Body), function)
			}
			return true
		})
	}
	for name := range unused {
		t.Errorf("%s is within the limit now: remove it from the exceptions", name)
	}
}

// A goFile is one of the repository's Go files.
type goFile struct {
	name string
	test bool
	set  *token.FileSet
	tree *ast.File
}

// goFiles parses all Go files of the repository, including its other modules, except generated ones.
func goFiles(t *testing.T) (all []goFile) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		f := goFile{name: filepath.ToSlash(path), test: strings.HasSuffix(path, "_test.go"), set: token.NewFileSet()}
		if f.tree, err = parser.ParseFile(f.set, path, nil, parser.ParseComments); err == nil && !ast.IsGenerated(f.tree) {
			all = append(all, f)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 100 {
		t.Fatalf("only %d files were found: is this the root of the repository?", len(all))
	}
	return all
}

func (f goFile) line(p token.Pos) int { return f.set.Position(p).Line }

// lines counts the lines of a function's body; in a test, without its tables and functions.
func (f goFile) lines(body *ast.BlockStmt) int {
	lines := f.line(body.Rbrace) - f.line(body.Lbrace) - 1
	if !f.test {
		return lines
	}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit, *ast.FuncLit, *ast.BasicLit:
			lines -= f.line(n.End()) - f.line(n.Pos())
			return false
		}
		return true
	})
	return lines
}
