package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestStoreIsTheUsersOwn checks that nobody else can create or read the store.
func TestStoreIsTheUsersOwn(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{"HOME", "AppData", "XDG_CONFIG_HOME"} {
		t.Setenv(name, filepath.Join(home, "own"))
	}
	t.Setenv("TMPDIR", filepath.Join(home, "everybodys"))
	path, err := ownFolder()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(path, filepath.Join(home, "own")) {
		t.Errorf("the store is at %s", path)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("its folder has mode %v", info.Mode())
	}
}
