package postgres

import (
	"errors"
	"strings"
	"testing"

	"github.com/kettubot/kapi"
)

// TestWrongSettings: the error names the setting and its valid values, but not the wrong value.
func TestWrongSettings(t *testing.T) {
	for dsn, want := range map[string]string{
		"postgres://u@h/db?sslmode=Hunter2":                     "DSN: sslmode must be disable, allow, prefer, require, verify-ca or verify-full",
		"postgres://u:p@h/db?application_name=x&sslmode=Hunter": "DSN: sslmode must be disable, ",
		"host=h user=u sslmode=Hunter2":                         "DSN: sslmode must be disable, ",
		"postgres://u@h/db?target_session_attrs=Hunter2":        "DSN: target_session_attrs must be any, ",
		"postgres://u@h/db?connect_timeout=Hunter2":             "DSN: connect_timeout must be a whole number of seconds",
		"postgres://u@h/db?sslmode=verify-full&sslrootcert=/Hu": "DSN names a file that can't be read (sslrootcert, sslcert or sslkey): no such file or directory",
		"postgres://u@h/db?port=Hunter2":                        "DSN: port must be a number",
		"postgres://u:p@x@h/db?sslmode=Hunter2":                 "DSN must be postgres://",
		"postgres://u:p%zz@h/db":                                "DSN must be postgres://",
	} {
		_, err := parse(dsn)
		if err == nil || !errors.As(err, new(*kapi.InvalidError)) || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "Hu") {
			t.Errorf("%s: got %v, want %q", dsn, err, want)
		}
	}
	for dsn, env := range map[string][3]string{
		"postgres://u@h/db":                          {"PGSSLMODE", "on", "PGSSLMODE must be disable, "},
		"postgres://u@h/db?sslmode=disable":          {"PGCONNECT_TIMEOUT", "5s", "PGCONNECT_TIMEOUT must be a whole number"},
		"postgres://u@h/db?target_session_attrs=any": {"PGPORT", "x", "PGPORT must be a number"},
	} {
		t.Run(env[0], func(t *testing.T) {
			t.Setenv(env[0], env[1])
			if _, err := parse(dsn); err == nil || !strings.HasPrefix(err.Error(), env[2]) {
				t.Errorf("got %v, want %q", err, env[2])
			}
		})
	}
}
