package bench

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"testing"
)

// TestStatementsAreTheStores checks that the bare loop runs the same SQL as package sqlite; otherwise
// it would not be a baseline.
func TestStatementsAreTheStores(t *testing.T) {
	theirs := constants(t, "../sqlite")
	for name, ours := range map[string]string{
		"selectHead": selectHead, "updateHead": updateHead,
		"insertAction": insertAction, "updateAction": updateAction,
		"insertKey": insertKey, "deleteKey": deleteKey, "upsertRunner": upsertRunner,
	} {
		if theirs[name] != ours {
			t.Errorf("%s has drifted from package sqlite's:\nhere:  %s\nthere: %s", name, ours, theirs[name])
		}
	}
	if theirs := numbers(t, "../peer/batch.go")["maxBatch"]; theirs != strconv.Itoa(maxBatch) {
		t.Errorf("maxBatch is %d, the engine's is %s", maxBatch, theirs)
	}
}

// constants returns the string constants of the package in a folder.
func constants(t *testing.T, folder string) map[string]string {
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no Go files in %s: %v", folder, err)
	}
	exprs := map[string]ast.Expr{}
	for _, name := range names {
		declared(t, name, exprs)
	}
	values := map[string]string{}
	for name, expr := range exprs {
		values[name] = text(exprs, expr)
	}
	return values
}

func numbers(t *testing.T, name string) map[string]string {
	exprs, values := map[string]ast.Expr{}, map[string]string{}
	declared(t, name, exprs)
	for name, expr := range exprs {
		if lit, ok := expr.(*ast.BasicLit); ok && lit.Kind == token.INT {
			values[name] = lit.Value
		}
	}
	return values
}

// declared adds the constants declared at a file's top level.
func declared(t *testing.T, name string, exprs map[string]ast.Expr) {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.CONST {
			continue
		}
		for _, spec := range gen.Specs {
			value := spec.(*ast.ValueSpec)
			for i := range value.Values {
				exprs[value.Names[i].Name] = value.Values[i]
			}
		}
	}
}

// text evaluates a concatenation of string literals and constants; it returns "" for anything else.
func text(exprs map[string]ast.Expr, expr ast.Expr) string {
	switch e := expr.(type) {
	case *ast.BasicLit:
		s, _ := strconv.Unquote(e.Value)
		return s
	case *ast.Ident:
		return text(exprs, exprs[e.Name])
	case *ast.BinaryExpr:
		return text(exprs, e.X) + text(exprs, e.Y)
	default:
		return ""
	}
}
