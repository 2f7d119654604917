package main

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/supervise"
)

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("any other"), 1},
		{kapi.ErrUnknown, 1},
		{exitStatus(42), 42},
		{usage("wrong"), 64},
		{&kong.ParseError{}, 64},
		{&kapi.InvalidError{Field: "key", Reason: "must not be empty"}, 64},
		{fmt.Errorf("open: %w", kapi.ErrUnavailable), 69},
		{fmt.Errorf("start: %w", &kapi.HeldError{}), 75},
		{&kapi.HeldError{Operation: "o", Limit: 2}, 75},
		{&kapi.NotOfferedError{Operation: "o"}, 69},
		{&kapi.UnknownOperationError{Name: "o"}, 1},
		{&kapi.PreflightError{Operation: "o", Reason: "no"}, 1},
		{&kapi.ArgumentsError{Operation: "o", Fields: []kapi.FieldError{{Reason: "are odd"}}}, 64},
		{&supervise.ExecError{Code: 126}, 126},
		{&supervise.ExecError{Code: 127}, 127},
		{&interruptedError{signal: 2}, 130},
		{fmt.Errorf("wait: %w", &interruptedError{signal: 15}), 143},
		{exitWith(0), 0},
		{exitWith(3), 3},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: got %d, want %d", c.err, got, c.want)
		}
	}
}

// Every flag has an environment variable: KAPI_ and the flag's name.
func TestEveryFlagHasAVariable(t *testing.T) {
	parser, err := newParser(&cli{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	var check func(node *kong.Node)
	check = func(node *kong.Node) {
		for _, flag := range node.Flags {
			if flag.Name == "help" || flag.Name == "version" {
				continue
			}
			want := "KAPI_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
			if !slices.Equal(flag.Envs, []string{want}) || !slices.Equal(flag.Tag.Envs, []string{want}) {
				t.Errorf("--%s of %s: got %q, want %s", flag.Name, node.Name, flag.Envs, want)
			}
			names = append(names, flag.Name)
		}
		for _, child := range node.Children {
			check(child)
		}
	}
	check(parser.Model.Node)
	slices.Sort(names)
	if got, want := strings.Join(slices.Compact(names), " "),
		"arg args continue description dismiss-failed end-timeout expires follow give-up grace host insecure join json key kill leave-running licenses listen log-format log-level max-connections max-connections-address metrics-listen name pass-token perms "+
			"preview progress rate-burst rate-limit rate-limit-address release-on-failure server stall store store-listen store-schema store-timeout timeout title tls-cert tls-key token total trusted-proxy tty type wait"; got != want {
		t.Errorf("the flags are %s, want %s", got, want)
	}
}

func TestVariablesCount(t *testing.T) {
	for name, value := range map[string]string{
		"KAPI_STORE": "sqlite:s", "KAPI_KEY": "a  b", "KAPI_TITLE": "t", "KAPI_DESCRIPTION": "d",
		"KAPI_RELEASE_ON_FAILURE": "true", "KAPI_DISMISS_FAILED": "1", "KAPI_JSON": "yes",
		"KAPI_TLS_CERT": "c.pem", "KAPI_TLS_KEY": "k.pem", "KAPI_TRUSTED_PROXY": "10.0.0.0/8,::1", "KAPI_HOST": "kapi.example,10.0.0.7",
		"KAPI_LISTEN": "[::1]:1", "KAPI_INSECURE": "true", "KAPI_LOG_FORMAT": "json", "KAPI_LOG_LEVEL": "warn",
		"KAPI_RATE_LIMIT": "0", "KAPI_RATE_BURST": "7", "KAPI_RATE_LIMIT_ADDRESS": "0.5",
		"KAPI_NAME": "n", "KAPI_TYPE": "bot", "KAPI_PERMS": "run", "KAPI_EXPIRES": "2d",
		"KAPI_ARG": "slots=7\n\nhost=a b", "KAPI_CONTINUE": "", "KAPI_FOLLOW": "1", "KAPI_WAIT": "10m",
	} {
		t.Setenv(name, value)
	}
	parse := func(args ...string) *cli {
		var c cli
		parser, err := newParser(&c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(args); err != nil {
			t.Fatal(err)
		}
		return &c
	}
	if c := parse("run", "--", "cmd", "-x"); c.Store != "sqlite:s" || !slices.Equal(c.Run.Key, []string{"a", "b"}) ||
		*c.Run.Title != "t" || c.Run.Description != "d" || !c.Run.ReleaseOnFailure || !c.Run.DismissFailed ||
		!slices.Equal(c.Run.Command, []string{"cmd", "-x"}) {
		t.Errorf("run: %+v", c.Run)
	}
	if c := parse("run", "--key", "x,y", "--title", "", "--release-on-failure=false", "cmd"); !slices.Equal(c.Run.Key, []string{"x,y"}) ||
		*c.Run.Title != "" || c.Run.ReleaseOnFailure {
		t.Errorf("flags don't override variables: %+v", c.Run)
	}
	if c := parse("start", "reshard"); !slices.Equal(c.Start.Arg, []string{"slots=7", "host=a b"}) || !c.Start.Follow || c.Start.Wait.limit != 10*time.Minute {
		t.Errorf("start: %+v", c.Start)
	}
	if c := parse("ls"); !c.Ls.JSON {
		t.Error("ls: no JSON")
	}
	if c := parse("watch"); !c.Watch.JSON {
		t.Error("watch: no JSON")
	}
	burst := 7
	want := serveCmd{
		Listen: "[::1]:1", TLSCert: "c.pem", TLSKey: "k.pem", TrustedProxy: []string{"10.0.0.0/8", "::1"}, Host: []string{"kapi.example", "10.0.0.7"},
		Insecure: true, LogFormat: "json", LogLevel: "warn", limitFlags: limitFlags{RateLimit: 0, RateBurst: &burst, RateLimitAddress: 0.5},
	}
	if c := parse("serve"); !reflect.DeepEqual(c.Serve, want) {
		t.Errorf("serve: %+v", c.Serve)
	}
	run := "run"
	if c := parse("token", "create"); !reflect.DeepEqual(c.Token.Create, tokenCreateCmd{Name: "n", Type: "bot", Perms: &run, Expires: lifetime(48 * time.Hour)}) {
		t.Errorf("token create: %+v", c.Token.Create)
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                               "plain",
		"größer 日本 😀":                         "größer 日本 😀",
		"a\x1b[31mb\x07\x00\n\t":              `a\x1b[31mb\a\x00\n\t`,
		"c1 \u009b31m":                        `c1 \u009b31m`,
		"turned \u202e\u2066":                 `turned \u202e\u2066`,
		"marks \u061c\u200e\u200f":            `marks \u061c\u200e\u200f`,
		"no room \u200b\u2060\ufeff":          `no room \u200b\u2060\ufeff`,
		"joined 👨\u200d👩 \u200c":              "joined 👨\u200d👩 \u200c",
		"line\u2028end":                       `line\u2028end`,
		"isolated \u2067\u2069":               `isolated \u2067\u2069`,
		"tags \U000E0001\U000E0041\U000E007F": `tags \U000e0001\U000e0041\U000e007f`,
		"filled \u3164\u115f\u00ad":           `filled \u3164\u115f\u00ad`,
		"signs \u0600\u06dd":                  "signs \u0600\u06dd",
		"bad \xff\xc3 end":                    `bad \xff\xc3 end`,
		"replacement \uFFFD stays":            "replacement \uFFFD stays",
	} {
		if got := plain(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("a\x1b[31m\xff\u202e")
	f.Fuzz(func(t *testing.T, in string) {
		got := plain(in)
		if strings.ContainsFunc(got, unsafeRune) || got != strings.ToValidUTF8(got, "") || plain(got) != got {
			t.Errorf("%q became %q", in, got)
		}
	})
}

func TestStateTextHasLocalTimes(t *testing.T) {
	zone := time.FixedZone("CET", 3600)
	got := stateIn(zone, "no word from h since 2026-11-23T21:04:10Z, 2026-13-23T21:04:10Z\x1b")
	if want := `no word from h since 2026-11-23 22:04:10 CET, 2026-13-23T21:04:10Z\x1b`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := timeIn(zone, time.UnixMilli(1795467850000)), "2026-11-23 22:04:10 CET"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProgressText(t *testing.T) {
	for p, want := range map[float64]string{0: "0%", 0.42: "42%", 0.29: "29%", 0.57: "57%", 0.999: "99%", 1: "100%"} {
		if got := progressText(&p); got != want {
			t.Errorf("%v: got %s, want %s", p, got, want)
		}
	}
	if got := progressText(nil); got != "" {
		t.Errorf("unknown: got %s", got)
	}
}

func TestAgeText(t *testing.T) {
	now := time.UnixMilli(1795467850000)
	for age, want := range map[time.Duration]string{
		-time.Minute: "0s", 0: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s",
		3*time.Hour + 5*time.Minute: "3h05m", 49 * time.Hour: "2d01h",
	} {
		if got := ageText(now, now.Add(-age).UnixMilli()); got != want {
			t.Errorf("%v: got %s, want %s", age, got, want)
		}
	}
}

func TestDescribeHeld(t *testing.T) {
	half := 0.5
	runner := &kapi.Runner{ID: "r", Host: "db1", PID: 7, HeardAt: 1795467850000}
	for _, c := range []struct {
		name string
		err  kapi.HeldError
		want string
	}{
		{"running", kapi.HeldError{Key: "k", Holder: kapi.Action{
			ID: "id", Title: "T\n", Status: kapi.StatusRunning, CreatedAt: 1795467840000, StartedAt: 1795467840000,
			Progress: &half, State: "slot 7", Runner: runner,
		}}, `key "k" is held by action id (T\n), running since 2026-11-23 21:04:00 UTC on db1, pid 7, last heard at 2026-11-23 21:04:10 UTC, 50% done: slot 7`},
		{
			"pending",
			kapi.HeldError{Key: "k", Holder: kapi.Action{ID: "id", Title: "T", CreatedAt: 1795467840000, Keys: []string{"k"}}},
			`key "k" is held by action id (T), pending since 2026-11-23 21:04:00 UTC`,
		},
		{
			"waiting",
			kapi.HeldError{Key: "k", Holder: kapi.Action{ID: "id", Title: "T", CreatedAt: 1795467840000, State: "waits for it"}},
			`key "k" is waited for by action id (T), pending since 2026-11-23 21:04:00 UTC: waits for it`,
		},
		{"not proven dead", kapi.HeldError{Key: "k", Holder: kapi.Action{
			NotProvenDead: true,
			ID:            "id", Title: "T", Status: kapi.StatusFailed, UpdatedAt: 1795467850000, State: "no word", Runner: runner,
		}}, `key "k" is held by action id (T), which failed at 2026-11-23 21:04:10 UTC on db1, pid 7, last heard at 2026-11-23 21:04:10 UTC: no word
it is not proven dead: make sure that its work has ended before you free the key
to free the key: kapi dismiss --store 'sqlite:/a b' id
or start commands that are safe to repeat with --release-on-failure`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("KAPI_STORE", "")
			a := &app{store: "sqlite:/a b"}
			if got := a.describeHeld(&c.err); string(got) != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{
		"sqlite:/var/lib/k.db": "sqlite:/var/lib/k.db", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'", "~": "'~'",
	} {
		if got := shellQuote(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

func TestDefaultTitle(t *testing.T) {
	for in, want := range map[string]string{
		"redis-cli": "redis-cli", "/usr/bin/redis-cli": "redis-cli", "bad\xff": "bad\uFFFD",
		strings.Repeat("é", 300): strings.Repeat("é", 200),
	} {
		if got := defaultTitle(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestErrorsArePlainAndOneLineEach(t *testing.T) {
	var b strings.Builder
	a := &app{stderr: &b, stdout: io.Discard}
	a.complain(errors.Join(errors.New("one\x1b[2J"), errors.New("two")))
	a.complain(exitStatus(3))
	a.complain(nil)
	if got, want := b.String(), "kapi: one\\x1b[2J\nkapi: two\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A stuck reader of stderr holds up nothing. The texts in the buffer are written in order at the end.
func TestAside(t *testing.T) {
	r, w := io.Pipe()
	a := &app{stderr: w}
	done := a.speakAside(nil)
	for i := range 2 * unwritten { // more than the buffer holds
		a.eprintf("line %d", i)
	}
	heard := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(r)
		heard <- all
	}()
	done(false)
	a.eprintf("directly")
	_ = w.Close()
	lines := strings.Split(string(<-heard), "\n")
	for i, line := range lines[:unwritten] {
		if want := fmt.Sprintf("kapi: line %d", i); line != want {
			t.Fatalf("got %q, want %q", line, want)
		}
	}
	if last := lines[len(lines)-2]; last != "kapi: directly" {
		t.Errorf("the last text is %q", last)
	}
}

// A store is shown as it was given, but without its password, however that is written.
func TestWithoutPassword(t *testing.T) {
	for store, want := range map[string]string{
		"sqlite:/a@b:c/kapi.db":                                         "sqlite:/a@b:c/kapi.db",
		"postgres://h/db":                                               "postgres://h/db",
		"postgres://kapi@h:1,h2/db":                                     "postgres://kapi@h:1,h2/db",
		"postgres://kapi:secret@h/db?sslmode=require":                   "postgres://kapi@h/db?sslmode=require",
		"postgres://kapi:sec#ret@h/db":                                  "postgres://kapi@h/db",
		"postgres://kapi:sec?ret@h/db":                                  "postgres://kapi@h/db",
		"postgres://kapi:sec%zzret@h/db":                                "postgres://kapi@h/db",
		"postgres://kapi:sec:ret@h/db":                                  "postgres://kapi@h/db",
		"postgres://kapi:sec@ret@h/db":                                  "postgres://...",
		"postgres://kapi:sec/ret@h/db":                                  "postgres://...",
		"postgresql://h/db?password=secret&user=kapi":                   "postgresql://h/db?user=kapi",
		"postgres://h/db?Pass%77ord=secret":                             "postgres://h/db",
		"postgres://h/db?sslpassword=secret&sslkey=k&connect_timeout=5": "postgres://h/db?sslkey=k&connect_timeout=5",
	} {
		if got := withoutPassword(store); got != want {
			t.Errorf("%s is shown as %s, want %s", store, got, want)
		}
	}
}
