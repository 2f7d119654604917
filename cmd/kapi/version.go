package main

import (
	_ "embed"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

type versionCmd struct {
	Licenses bool `help:"Print the licences of what is linked into kapi."`
}

// notices are written by make notices, and tested by internal/notices.
//
//go:embed notices.txt
var notices string

func (c *versionCmd) Run(a *app) error {
	if c.Licenses {
		_, err := io.WriteString(a.stdout, notices)
		return err
	}
	return writeln(a.stdout, "%s", versionLine())
}

func versionLine() string {
	return fmt.Sprintf("kapi %s (%s, %s/%s)", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// version is the module's, as the go command found it when it built this.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
