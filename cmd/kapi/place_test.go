package main

import (
	"os"
	"testing"
)

// A command that is shown for pasting names the place, unless a variable names it with a password.
func TestStoreArgument(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	flag := map[string]bool{"store": true}
	for _, c := range []struct {
		app    app
		server string // KAPI_SERVER
		want   string
	}{
		{app{}, "", ""},
		{app{}, "http://h", "--server '' "},
		{app{server: "http://h"}, "http://h", "--server http://h "},
		{app{store: "sqlite:x"}, "", "--store sqlite:" + here + "/x "},
		{app{store: "sqlite:/x", given: flag}, "http://h", "--store sqlite:/x "},
		{app{store: "postgres://u@h/db", storeSchema: "s"}, "", "--store postgres://u@h/db --store-schema s "},
		{app{store: "postgres://u:secret@h/db"}, "", ""},
		{app{store: "postgres://u:secret@h/db", given: flag}, "", "--store postgres://u@h/db "},
	} {
		t.Setenv("KAPI_SERVER", c.server)
		if got := c.app.storeArgument(); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.app, got, c.want)
		}
	}
}
