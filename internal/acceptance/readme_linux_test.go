package acceptance

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kettubot/kapi/internal/kapitest"
)

// A step is a command in a console block, with the output shown for it.
type step struct {
	command string
	shows   []string
}

// consoleSteps returns the steps in a document's console blocks.
func consoleSteps(text string) (steps []step) {
	inside, goesOn, document := false, false, false // document: inside a here-document
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case line == "```console":
			inside = true
		case strings.HasPrefix(line, "```"):
			inside = false
		case !inside:
		case goesOn:
			steps[len(steps)-1].command += "\n" + line
		case isCommand:
			steps = append(steps, step{command: command})
		default:
			steps[len(steps)-1].shows = append(steps[len(steps)-1].shows, line)
		}
		if isCommand && inside && strings.HasSuffix(line, "<<'EOF'") {
			document = true
		} else if line == "EOF" {
			document = false
		}
		goesOn = inside && (document || strings.HasSuffix(line, `\`))
	}
	return steps
}

// What differs between two runs of README: ids, fences, processes, times, places.
var (
	varying = regexp.MustCompile(`\b[a-z2-7]{26}\b|"fence":\d+|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC|\bvm/\d+|\bprocess \d+ on vm\b|\bon vm, pid \d+|\b\d+s\b|sqlite:\S+|\.\.\.| +`)
	named   = regexp.MustCompile(`^(?:[a-z2-7]{26}|"fence":\d+)$`)
)

// names maps the ids, fences and addresses in a document to those in this run.
type names map[string]string

// pattern returns a regular expression for a line shown. Names that are new in the line are its groups,
// in order.
func (known names) pattern(line string) (re *regexp.Regexp, fresh []string) {
	b, at := strings.Builder{}, 0
	for _, m := range varying.FindAllStringIndex(line, -1) {
		b.WriteString(regexp.QuoteMeta(known.here(line[at:m[0]])))
		switch word := line[m[0]:m[1]]; {
		case known[word] != "":
			b.WriteString(known[word])
		case named.MatchString(word):
			fresh = append(fresh, word)
			b.WriteString(`([a-z2-7]{26}|"fence":\d+)`)
		case word == "...":
			b.WriteString(`.*`)
		case strings.HasPrefix(word, " "):
			b.WriteString(` +`)
		case strings.HasPrefix(word, "sqlite:"):
			b.WriteString(`sqlite:\S+`)
		default: // numbers, and the host's name
			word = regexp.MustCompile(`\d+`).ReplaceAllString(word, `\d+`)
			b.WriteString(regexp.MustCompile(`\bvm\b`).ReplaceAllString(word, `\S+`))
		}
		at = m[1]
	}
	b.WriteString(regexp.QuoteMeta(known.here(line[at:])))
	return regexp.MustCompile("^" + b.String() + " *$"), fresh
}

// match says whether a command printed what is shown for it, and records the names that are new.
func (known names) match(shows, printed []string) bool {
	if len(shows) != len(printed) {
		return false
	}
	found := names{}
	for i, line := range shows {
		re, fresh := known.pattern(line)
		groups := re.FindStringSubmatch(printed[i])
		if groups == nil {
			return false
		}
		for n, id := range fresh {
			found[id] = groups[n+1]
		}
	}
	for id, now := range found {
		known[id] = now
	}
	return true
}

// here translates a document's command to this run's names.
func (known names) here(command string) string {
	for id, now := range known {
		command = strings.ReplaceAll(command, id, now)
	}
	return command
}

// staying are the commands that keep running, with the output that they begin with. The group is what is done with it:
// the address, or a command.
var staying = map[string]*regexp.Regexp{
	"kapi serve": regexp.MustCompile(`(?s)This link signs you in, once,.*\n +http://(127\.0\.0\.1:\d+)/\S+\r?\n`),
	"make run":   regexp.MustCompile(`(?s)This link signs you in, once,.*\n +http://(127\.0\.0\.1:\d+)/\S+\r?\n`),
	"go run .":   regexp.MustCompile(`(?s)export KAPI_SERVER=\S+ KAPI_TOKEN=\S+\r?\n(curl -H 'Authorization: Bearer \S+' -d subject=Hello http://\S+/newsletter)\r?\n`),
}

// TestReadme does what README says, in its order, as a user with a checkout and an empty folder beside
// it. Only the ports differ, as README's may be taken.
func TestReadme(t *testing.T) {
	folder := t.TempDir()
	checkout := filepath.Join(folder, "kapi")
	copyCheckout(t, checkout)
	text, err := os.ReadFile(filepath.Join(checkout, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	steps := consoleSteps(string(text))
	if len(steps) < 10 || steps[0].command != "make run" {
		t.Fatalf("README has the steps %q", steps)
	}
	env := newcomer(t, folder)
	known := names{}
	first := newShell(t, checkout, append(env, "KAPI_LISTEN=127.0.0.1:0"))
	known["127.0.0.1:4080"] = first.stay(steps[0].command)
	second := newShell(t, checkout, env)
	for i, s := range steps[1:] {
		if staying[s.command] != nil {
			try(t, newShell(t, folder, env), second.stay(s.command))
			continue
		}
		attempt(t, second, known, s, exitShown(steps[1+i:]))
		if strings.HasPrefix(s.command, "cp ") {
			replaceIn(t, filepath.Join(folder, "bot", "main.go"), "127.0.0.1:4081", freeAddress(t))
		}
	}
}

// TestDocs does what the other pages' console blocks say, if one server is enough for them.
func TestDocs(t *testing.T) {
	root, err := kapitest.Root()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	env := append(newcomer(t, folder), "PATH="+filepath.Dir(buildKapi(t))+":"+os.Getenv("PATH"))
	known := names{}
	for _, page := range []string{"page", "gateway", "rest"} {
		text, err := os.ReadFile(filepath.Join(root, "docs", page+".md"))
		if err != nil {
			t.Fatal(err)
		}
		steps := consoleSteps(string(text))
		if len(steps) == 0 {
			t.Errorf("%s has no steps", page)
		}
		sh := newShell(t, folder, append(env, "KAPI_LISTEN=127.0.0.1:0"))
		for i, s := range steps {
			if staying[s.command] != nil {
				known["127.0.0.1:4080"] = sh.stay(s.command)
				continue
			}
			attempt(t, sh, known, s, exitShown(steps[i:]))
		}
	}
}

// exitShown returns the exit code expected of the first step: the one that an echo after it shows, or
// 0.
func exitShown(steps []step) (code int) {
	if len(steps) > 1 && steps[1].command == "echo $?" {
		fmt.Sscan(steps[1].shows[0], &code)
	}
	return code
}

// attempt runs a command. If it shows the list, attempt repeats it until the list is as shown.
func attempt(t *testing.T, sh *shell, known names, s step, want int) {
	t.Helper()
	s.command = known.here(s.command)
	looks := strings.HasSuffix(s.command, "kapi ls")
	for again := true; again; {
		again = false
		code, printed := sh.run(s.command)
		switch matches := s.shows == nil || known.match(s.shows, printed); {
		case code != want:
			t.Fatalf("$ %s\n%s\nexit code %d, want %d", s.command, strings.Join(printed, "\n"), code, want)
		case !matches && looks && sh.patient():
			again = true
		case !matches:
			t.Fatalf("$ %s\nprinted\n%s\nwant\n%s", s.command, strings.Join(printed, "\n"), strings.Join(s.shows, "\n"))
		}
	}
}

// try runs the command that the embedding program prints.
func try(t *testing.T, sh *shell, command string) {
	t.Helper()
	code, printed := sh.run(command)
	if text := strings.Join(printed, "\n"); code != 0 || !strings.HasPrefix(text, "started ") {
		t.Errorf("got %d, %s from the embedding program", code, text)
	}
}

func replaceIn(t *testing.T, path, from, to string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), from) {
		t.Fatalf("%s does not contain %s", path, from)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), from, to)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// copyCheckout copies the module's source, without what was built in it.
func copyCheckout(t *testing.T, to string) {
	t.Helper()
	from, err := kapitest.Root()
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(from, path)
		switch {
		case err != nil:
			return err
		case inside == ".git" || inside == "bin":
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, inside), 0o700)
		case !d.Type().IsRegular():
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, inside), text, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}
