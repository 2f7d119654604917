// Notices prints the licences of everything that is linked into a program: of Go itself, and of every
// module that provides one of its packages on any of the systems that kapi is built for.
//
//	go run ./internal/notices ./cmd/kapi > cmd/kapi/notices.txt
//
// It reads the module cache, which go mod download fills.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: notices PACKAGE")
		os.Exit(2)
	}
	text, err := collect(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "notices:", err)
		os.Exit(1)
	}
	fmt.Print(text)
}

// systems returns the systems whose binaries share the notices.
func systems() []string { return []string{"linux", "darwin", "windows", "freebsd"} }

// A module provides one of the program's packages.
type module struct {
	Path, Version, Dir string
	Main               bool
}

func (m module) name() string { return m.Path + " " + m.Version }

// collect returns the notices of a package's program. It returns an error that names the module if one
// has no licence.
func collect(pkg string) (string, error) {
	var goroot bytes.Buffer
	if err := run(&goroot, nil, "env", "GOROOT"); err != nil {
		return "", err
	}
	license, err := os.ReadFile(filepath.Join(strings.TrimSpace(goroot.String()), "LICENSE"))
	if err != nil {
		return "", err
	}
	var b strings.Builder
	add(&b, "Go, its runtime and standard library", string(license))
	linked, err := modules(pkg)
	if err != nil {
		return "", err
	}
	for _, m := range linked {
		var files []string
		for file := range m.files {
			files = append(files, file)
		}
		slices.Sort(files)
		if len(files) == 0 {
			return "", fmt.Errorf("module %s has no licence in %s", m.Path, m.Dir)
		}
		for _, file := range files {
			text, err := os.ReadFile(filepath.Join(m.Dir, file))
			if err != nil {
				return "", err
			}
			add(&b, m.name()+", "+filepath.ToSlash(file), string(text))
		}
	}
	return b.String(), nil
}

func add(b *strings.Builder, title, text string) {
	line := strings.Repeat("=", 80)
	text = strings.ReplaceAll(text, "\r\n", "\n")
	fmt.Fprintf(b, "%s\n%s\n%s\n\n%s\n\n", line, title, line, strings.TrimRight(text, "\n"))
}

type linkedModule struct {
	module
	files map[string]bool // relative to Dir
}

// modules returns the linked modules of all systems, ordered by path.
func modules(pkg string) ([]linkedModule, error) {
	byPath := map[string]linkedModule{}
	for _, system := range systems() {
		var out bytes.Buffer
		if err := run(&out, []string{"GOOS=" + system, "GOARCH=amd64", "CGO_ENABLED=0"}, "list", "-deps", "-json=Dir,Module", pkg); err != nil {
			return nil, err
		}
		for d := json.NewDecoder(&out); ; {
			var p struct {
				Dir    string
				Module *module
			}
			if err := d.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, err
			}
			if p.Module == nil || p.Module.Main {
				continue
			}
			m, ok := byPath[p.Module.Path]
			if !ok {
				m = linkedModule{*p.Module, map[string]bool{}}
				byPath[m.Path] = m
			}
			if err := m.look(p.Dir); err != nil {
				return nil, err
			}
		}
	}
	all := make([]linkedModule, 0, len(byPath))
	for _, m := range byPath {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b linkedModule) int { return cmp.Compare(a.Path, b.Path) })
	return all, nil
}

// look collects the licence files in a package's folder and those above it.
func (m linkedModule) look(dir string) error {
	notice := regexp.MustCompile(`(?i)^(un)?licen[cs]e|^copying|^notice|^patents|^copyright`)
	for {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Type().IsRegular() && notice.MatchString(e.Name()) && filepath.Ext(e.Name()) != ".go" {
				file, err := filepath.Rel(m.Dir, filepath.Join(dir, e.Name()))
				if err != nil {
					return err
				}
				m.files[file] = true
			}
		}
		if dir == m.Dir {
			return nil
		}
		dir = filepath.Dir(dir)
	}
}

func run(out io.Writer, environ []string, args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Env = append(append(os.Environ(), "GOFLAGS=-mod=readonly"), environ...)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	return cmd.Run()
}
