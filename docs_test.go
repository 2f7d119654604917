package kapi_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// TestArchitectureFits: the overview can be read in one go.
func TestArchitectureFits(t *testing.T) {
	const longest = 200
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(text), "\n"); lines > longest || lines < 50 {
		t.Errorf("docs/architecture.md has %d lines, want at most %d: move what concerns a single package to its README", lines, longest)
	}
}

// TestLinks: every link between pages, and from pages to code, has a target.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	links := 0
	for _, page := range pages(t) {
		for _, found := range link.FindAllStringSubmatch(prose(t, page), -1) {
			target, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(target, ":") || strings.HasPrefix(target, "/") { // a URL, or a path on a server
				continue
			}
			links++
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), target)
			}
			if !exists(file) {
				t.Errorf("%s links to %s, which doesn't exist", page, found[1])
			} else if anchor != "" && !anchors(t, file)[anchor] {
				t.Errorf("%s links to %s, but there is no such heading", page, found[1])
			}
		}
	}
	if links < 100 {
		t.Errorf("only %d links were found: does the search still work?", links)
	}
}

// pages lists the Markdown files of the repository.
func pages(t *testing.T) (all []string) {
	t.Helper()
	for _, pattern := range []string{"*.md", "*/*.md", "internal/*/*.md", "examples/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

// prose returns a page without its code blocks.
func prose(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for i, part := range strings.Split(string(text), "```") {
		if i%2 == 0 {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "")
}

// anchors returns the anchors that GitHub gives to a page's headings.
func anchors(t *testing.T, page string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for line := range strings.Lines(prose(t, page)) {
		heading := strings.TrimLeft(line, "#")
		if heading == line {
			continue
		}
		all[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(heading))] = true
	}
	return all
}
