package postgres

import (
	"errors"
	"strings"
	"testing"

	"github.com/kettubot/kapi"
)

// TestPasswordIsNotShown: a password with special characters that are not percent-encoded makes a URL
// that can be read in several ways. It is refused, or no part of the password is in the name.
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

// TestUnambiguous: what can be read in one way only is taken.
func TestUnambiguous(t *testing.T) {
	for dsn, name := range map[string]string{
		"postgres://kapi@h/db":                                  "postgres://h:5432/db",
		"postgres://kapi:p%40ss%2Fword@h/db":                    "postgres://h:5432/db",
		"postgres://kapi:pass@h1:1,h2:2/db?sslmode=disable":     "postgres://h1:1,h2:2/db",
		"postgres://h/db?user=kapi&password=a@b/c":              "postgres://h:5432/db",
		"postgres://kapi@h/db?application_name=me%40host":       "postgres://h:5432/db",
		"postgres://kapi@h/d%40b":                               "postgres://h:5432/d@b",
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
