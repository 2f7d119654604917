package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestNoticesAreComplete checks that kapi version --licenses covers everything that is linked.
func TestNoticesAreComplete(t *testing.T) {
	const program = "../../cmd/kapi"
	want, err := collect(program)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(program + "/notices.txt")
	if err != nil {
		t.Fatal(err)
	}
	var deps bytes.Buffer
	if err := run(&deps, nil, "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}", program); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(deps.String()) {
		if name := strings.TrimSpace(line); name != "" && !strings.Contains(string(got), "\n"+name+", ") {
			t.Errorf("%s is linked but has no notice", name)
		}
	}
	if string(got) != want {
		t.Error("cmd/kapi/notices.txt is out of date: run make notices")
	}
}
