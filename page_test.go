package kapi_test

import (
	"bytes"
	"os/exec"
	"testing"
)

// TestPageFits: the package's documentation page can be read in one go.
func TestPageFits(t *testing.T) {
	const longest = 540
	page, err := exec.Command("go", "doc", "-all", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(page, []byte("\n")); lines > longest || lines < 100 {
		t.Errorf("go doc -all . has %d lines, want at most %d", lines, longest)
	}
}
