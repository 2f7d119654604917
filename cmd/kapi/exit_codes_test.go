package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"
)

// docs/commands.md, the help and the manual have the program's table of exit codes.
func TestExitCodesAsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "| exit code | when |\n| --- | --- |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var want []string
	for _, e := range exitCodes() {
		want = append(want, "| "+e.code+" | "+e.when+" |")
	}
	if got := strings.Split(strings.ReplaceAll(table, "`", ""), "\n"); !found || !slices.Equal(got, want) {
		t.Errorf("docs/commands.md has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	var help, manual strings.Builder
	help.WriteString((&runCmd{}).Help())
	if code := (&app{stdout: &manual, stderr: &manual}).main([]string{"man"}); code != 0 {
		t.Fatalf("kapi man exits with %d: %s", code, manual.String())
	}
	for _, e := range exitCodes() {
		if !strings.Contains(help.String(), e.code+": "+e.when) {
			t.Errorf("kapi run --help doesn't say when it exits with %s", e.code)
		}
		if !strings.Contains(manual.String(), roff(e.code)+"\n"+roff(e.when)) {
			t.Errorf("kapi man doesn't say when it exits with %s", e.code)
		}
	}
}

// Every exit code that is named in exit.go is in the table.
func TestExitCodesAreAllThere(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "exit.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(v.Names[0].Name, "exit") {
			return true
		}
		named++
		code := v.Values[0].(*ast.BasicLit).Value
		if !slices.ContainsFunc(exitCodes(), func(e exitMeaning) bool { return e.code == code }) {
			t.Errorf("%s, %s, is not in the table", v.Names[0].Name, code)
		}
		return true
	})
	if named < 5 {
		t.Errorf("exit.go names %d codes", named)
	}
}
