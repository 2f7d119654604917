package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/kettubot/kapi"
)

// hostile is a text as a foreign store or server may send it: it sets the terminal's title, returns to the
// start of the line, and has a C1 control, a direction mark, a tag and line ends.
const hostile = "a\x1b]0;b\x07\r\u009b31m\u202ec\u2066\u061c\U000E0041\u2028d\nkapi: e"

func hostileAction() kapi.Action {
	return kapi.Action{
		ID: hostile, Title: hostile, State: hostile, Description: hostile, Keys: []string{hostile},
		Status: kapi.StatusFailed, Runner: &kapi.Runner{ID: hostile, Host: hostile, PID: 1},
	}
}

func isHostile(text string) bool {
	return strings.ContainsAny(text, "\x1b\a\r\u009b\u202e\u2066\u061c\U000E0041\u2028")
}

func TestNothingRawOnATerminal(t *testing.T) {
	var out bytes.Buffer
	a := &app{stdout: &out, stderr: &out}
	if err := a.table([]kapi.Action{hostileAction()}, time.UnixMilli(1795467850000)); err != nil {
		t.Error(err)
	}
	if err := (&printed{out: &out}).show(hostileAction(), true); err != nil {
		t.Error(err)
	}
	rows := newRows(false)
	rows.update(time.UnixMilli(1795467850000), hostileAction())
	fmt.Fprintln(&out, strings.Join(rows.lines(time.UnixMilli(1795467850000), 200, 20), "\n"))
	if n := strings.Count(out.String(), "\n"); n != 4 || isHostile(out.String()) {
		t.Errorf("%d lines: %q", n, out.String())
	}
	out.Reset()
	a.eprintf("an id: %s; an error: %v", hostile, errors.New(hostile))
	a.complain(fmt.Errorf("server: %w", errors.New(hostile)))
	a.complain(errors.Join(errors.New(hostile), errors.Join(errors.New(hostile))))
	a.complain(&kapi.HeldError{Key: hostile, Holder: hostileAction()})
	printed := strings.TrimSuffix(out.String(), "\n")
	if isHostile(printed) || strings.Contains(printed, "\nkapi: e") || strings.Count(printed, "\n") != 6 {
		t.Errorf("%s", printed)
	}
}

// An id, or an operation's name, in a command that is shown for pasting is one word, so it can't run anything else.
func TestHintsAreOneWord(t *testing.T) {
	a := &app{}
	text := string(a.describeHeld(&kapi.HeldError{Key: "k", Holder: kapi.Action{ID: "x; rm -rf ~\n", Status: kapi.StatusFailed}}))
	if !strings.Contains(text, `kapi dismiss 'x; rm -rf ~\n'`) {
		t.Error(text)
	}
	text = string(a.describeHeld(&kapi.HeldError{Key: "k", Holder: kapi.Action{ID: "x", Operation: "$(id)", Status: kapi.StatusFailed}}))
	if !strings.Contains(text, `kapi start '$(id)' --continue x`) {
		t.Error(text)
	}
}

// JSON on a terminal has escapes but means the same; elsewhere it has none.
func TestJSONOnATerminal(t *testing.T) {
	terminal, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	defer tty.Close()
	want, err := json.Marshal(hostileAction())
	if err != nil {
		t.Fatal(err)
	}
	for _, show := range []func(f *os.File) error{
		func(f *os.File) error { return (&printed{out: f, json: true}).show(hostileAction(), true) },
		func(f *os.File) error { return writeJSON(f, hostileAction()) },
	} {
		if err := show(tty); err != nil {
			t.Fatal(err)
		}
		got := readLine(t, terminal)
		var back kapi.Action
		if err := json.Unmarshal([]byte(got), &back); err != nil || back.ID != hostile || back.Runner.Host != hostile {
			t.Errorf("%s: %v, %q", got, err, back.ID)
		}
		if isHostile(strings.TrimRight(got, "\r\n")) {
			t.Errorf("raw: %q", got)
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := show(w); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if got := readLine(t, r); got != string(want)+"\n" {
			t.Errorf("through a pipe: %q", got)
		}
		r.Close()
	}
	a := &app{stderr: tty}
	(&serveCmd{LogFormat: "json", LogLevel: "info"}).logger(a).Warn("x", "host", hostile)
	if got := readLine(t, terminal); isHostile(strings.TrimRight(got, "\r\n")) || !json.Valid([]byte(got)) {
		t.Errorf("the log: %q", got)
	}
}

func readLine(t *testing.T, f *os.File) string {
	t.Helper()
	var line []byte
	for b := make([]byte, 1); !bytes.HasSuffix(line, []byte("\n")); {
		if _, err := f.Read(b); err != nil {
			t.Fatal(err)
		}
		line = append(line, b...)
	}
	return string(line)
}
