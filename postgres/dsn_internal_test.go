package postgres

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kettubot/kapi"
)

// TestPasswordIsNotShown: if a password has special characters that are not percent-encoded, its URL is
// ambiguous. Such a URL is refused, or the store's name contains no part of the password.
func TestPasswordIsNotShown(t *testing.T) {
	for _, password := range []string{
		"Hunter2@Sesame/77", "Hunter2@Sesame", "Hunter2/Sesame", "Hunter2#Sesame", "Hunter2?Sesame", "Hunter2%Sesame", "Hunter2:Sesame",
		"Hunter2 Sesame", "Hunter2@Sesame#9", "12@Sesame?x", "12@Sesame?x=y", "Hunter2[Sesame", "99/Sesame@x", `Hunter2\Sesame`, "Hunter2%zzSesame",
		"99/Sesame?x", "99/Sesame?x=y", "99?Sesame/x", "99,Sesame", "99,Sesame@x", "@Sesame", "Sesame@", "@@Sesame", "Sesame//", "a@Sesame,h:1/x",
	} {
		for _, dsn := range []string{
			"postgres://kapi:" + password + "@127.0.0.1:5544/base",
			"postgresql://kapi:" + password + "@127.0.0.1:5544/base?sslmode=disable",
			"postgres://127.0.0.1:5544/base?user=kapi&password=" + password,
		} {
			config, err := parse(dsn)
			shown := ""
			if err == nil {
				shown = nameOf(config)
			} else if shown = err.Error(); !errors.As(err, new(*kapi.InvalidError)) {
				t.Errorf("%s: %v", dsn, err)
			}
			for _, part := range []string{"Hunter2", "Sesame", "99"} {
				if strings.Contains(shown, part) {
					t.Errorf("%s: %q is shown", dsn, shown)
				}
			}
		}
	}
}

// TestPasswordOfAnyForm: whatever a DSN looks like, and whatever characters are in its password, neither an error nor
// the store's name contains any part of the password.
func TestPasswordOfAnyForm(t *testing.T) {
	const special = "@/#?%:[]\\ ,&=;'\"+|{}^`~!$*(\t\n\u00e9"
	forms := []string{
		"postgres://kapi:PW@127.0.0.1:5544/base", "POSTGRES://kapi:PW@127.0.0.1:5544/base", "  postgreSQL://kapi:PW@h/base?sslmode=disable",
		"postgres://h/base?user=kapi&password=PW", "postgres://h/base?sslpassword=PW&user=kapi", "\ufeffPostgres://h/base?PASSWORD=PW",
		"host=h dbname=base user=kapi password=PW", " password = 'PW' host=h", "host=h sslpassword=PW", "dbname=postgres://kapi:PW@h/base",
		"mysql://kapi:PW@h/base", "MySQL://h/base?password=PW", "postgres:kapi:PW@h/base", "postgres//kapi:PW@h/base", "://kapi:PW@h/base",
		"jdbc:postgresql://h/base?password=PW", "postgres://h/base%3Fpassword=PW", "host=kapi:PW@h dbname=base",
	}
	for _, a := range special {
		for _, b := range special {
			for _, password := range []string{"Hunter2" + string(a) + "Sesame" + string(b), "99" + string(a) + "Sesame" + string(b) + "x"} {
				for _, form := range forms {
					dsn := strings.Replace(form, "PW", password, 1)
					config, err := parse(dsn)
					shown := ""
					if err == nil {
						shown = nameOf(config)
					} else if shown = err.Error(); !errors.As(err, new(*kapi.InvalidError)) {
						t.Errorf("%q: %v", dsn, err)
					}
					if strings.Contains(shown, "Hunter2") || strings.Contains(shown, "Sesame") || strings.Contains(shown, "99") {
						t.Fatalf("%q: %q is shown", dsn, shown)
					}
				}
			}
		}
	}
}

// TestDiscreet: a message of the server is not shown if it may repeat a part of a password.
func TestDiscreet(t *testing.T) {
	for _, c := range []struct {
		dsn, said, want string
	}{
		{"postgres://h/db?password=Hunter2&Sesame=1", `unrecognized configuration parameter "Sesame"`, "it rejects the DSN"},
		{"postgres://h/db?password=Hunter2&search_path=a", `invalid value for parameter "search_path": "a"`, `invalid value for parameter "search_path": "a"`},
		{"host=h password=a Sesame=b", `unsupported startup parameter: Sesame`, "it rejects the DSN"},
		{"postgres://h/db?statement_timeout=Sesame", `invalid value for parameter: "Sesame"`, "it rejects the DSN"},
		{"postgres://kapi%3ASesame@h/db", `role "kapi:Sesame" does not exist`, "it rejects the DSN"},
		{"postgres://kapi:Sesame@h/db", `role "kapi" does not exist`, `role "kapi" does not exist`},
	} {
		config, err := parse(c.dsn)
		if err != nil {
			t.Fatal(c.dsn, err)
		}
		got := explain(discreet(config, &pgconn.PgError{Severity: "FATAL", Code: "42704", Message: c.said}))
		if !errors.Is(got, kapi.ErrUnavailable) || !strings.Contains(got.Error(), c.want) || !strings.Contains(got.Error(), "42704") {
			t.Errorf("%s: %v, want %q", c.dsn, got, c.want)
		}
	}
}

// TestUnambiguous: a DSN that can be parsed in only one way is accepted.
func TestUnambiguous(t *testing.T) {
	for dsn, name := range map[string]string{
		"postgres://kapi@h/db":                                  "postgres://h:5432/db",
		"postgres://kapi:p%40ss%2Fword@h/db":                    "postgres://h:5432/db",
		"postgres://kapi:pass@h1:1,h2:2/db?sslmode=disable":     "postgres://h1:1,h2:2/db",
		"postgres://h/db?user=kapi&password=a@b/c":              "postgres://h:5432/db",
		"postgres://kapi@h/db?application_name=me%40host":       "postgres://h:5432/db",
		"postgres://kapi@h/d%40b":                               "postgres://h:5432/d@b",
		"POSTGRES://kapi:pass@h/db":                             "postgres://h:5432/db",
		" PostgreSQL://kapi@h/db\r\n":                           "postgres://h:5432/db",
		"postgres:///db?host=/run/pg&port=7":                    "postgres:///db?host=/run/pg&port=7",
		"host=h dbname=db user=me@there password=a@b port=5432": "postgres://h:5432/db",
	} {
		config, err := parse(dsn)
		if err != nil {
			t.Errorf("%s: %v", dsn, err)
		} else if got := nameOf(config); got != name {
			t.Errorf("%s: it is named %s, want %s", dsn, got, name)
		}
	}
}
