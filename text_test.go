package kapi_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// lookedInto has the calls that may look into a text for people, each with the reason. A fact that a program
// needs is a field: no code may look for it in a state, a message or the text of an error.
var lookedInto = map[string]string{
	"postgres/dsn.go: strings.Split(err.Error())": "its lines become one",
}

// TestNoTextIsSearched finds calls that look into a text for people: a field State or Message, or what
// Error() returns.
func TestNoTextIsSearched(t *testing.T) {
	unused := map[string]bool{}
	for what := range lookedInto {
		unused[what] = true
	}
	for _, folder := range folders(t) {
		if folder == "internal/storetest" || folder == "internal/notices" || strings.HasPrefix(folder, "internal/acceptance") {
			continue // tests
		}
		names, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, search := range searches(file) {
				what := filepath.ToSlash(name) + ": " + search
				if lookedInto[what] == "" {
					t.Errorf("%s looks into a text for people: put the fact into a field", what)
				}
				delete(unused, what)
			}
		}
	}
	for what := range unused {
		t.Errorf("%s no longer exists: remove it from the exceptions", what)
	}
}

// The search finds the calls that it is meant to find.
func TestSearchesAreFound(t *testing.T) {
	const program = `package p
		func f() {
			_ = strings.Contains(a.State, "dead")
			_, _ = strings.CutPrefix(*r.State, "waits for ")
			_ = text.MatchString(e.Message)
			_ = bytes.HasPrefix([]byte(err.Error()), x)
			_ = strings.ToUpper(a.Title)
			_ = stateText(a.State)
			_ = a.State == other
		}`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", program, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"strings.Contains(State)", "strings.CutPrefix(State)", "text.MatchString(Message)", "bytes.HasPrefix(err.Error())"}
	if got := searches(file); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// searches lists the calls of strings, bytes, slices and regexps in a file whose argument is a text for people.
func searches(file *ast.File) (all []string) {
	packages := []string{"strings", "bytes", "regexp"}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		f, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		of, ok := f.X.(*ast.Ident)
		isRegexp := strings.HasPrefix(f.Sel.Name, "Match") || strings.HasPrefix(f.Sel.Name, "Find")
		if !ok || !slices.Contains(packages, of.Name) && !isRegexp {
			return true
		}
		for _, arg := range call.Args {
			if text := forPeople(arg); text != "" {
				all = append(all, of.Name+"."+f.Sel.Name+"("+text+")")
			}
		}
		return true
	})
	return all
}

// forPeople names the text for people that an expression reads, or returns "".
func forPeople(e ast.Expr) (name string) {
	ast.Inspect(e, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		switch {
		case !ok:
		case s.Sel.Name == "State", s.Sel.Name == "Message":
			name = s.Sel.Name
		case s.Sel.Name == "Error":
			name = "err.Error()"
		}
		return true
	})
	return name
}
