package postgres

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/kettubot/kapi"
)

// flaw returns an error that names the wrong setting of a DSN that can't be parsed, or nil if it finds none. The
// error never contains the setting's value.
func flaw(dsn string, parseErr error) error {
	settings := settingsOf(dsn)
	for _, s := range []struct {
		name, variable, wants string
		right                 func(value string) bool
	}{
		{"sslmode", "PGSSLMODE", "must be disable, allow, prefer, require, verify-ca or verify-full", oneOf("disable", "allow", "prefer", "require", "verify-ca", "verify-full")},
		{"sslnegotiation", "PGSSLNEGOTIATION", "must be postgres or direct", oneOf("postgres", "direct")},
		{"target_session_attrs", "PGTARGETSESSIONATTRS", "must be any, read-write, read-only, primary, standby or prefer-standby", oneOf("any", "read-write", "read-only", "primary", "standby", "prefer-standby")},
		{"connect_timeout", "PGCONNECT_TIMEOUT", "must be a whole number of seconds", isWhole},
		{"port", "PGPORT", "must be a number from 1 to 65535", isWhole},
	} {
		value, given := settings[s.name]
		field := "DSN: " + s.name
		if !given {
			value, field = os.Getenv(s.variable), s.variable
		}
		if value != "" && !s.right(value) {
			return &kapi.InvalidError{Field: field, Reason: s.wants}
		}
	}
	var file *fs.PathError
	if errors.As(parseErr, &file) {
		return &kapi.InvalidError{Field: "DSN", Reason: "names a file that can't be read (sslrootcert, sslcert or sslkey): " + file.Err.Error()}
	}
	return nil
}

// settingsOf returns the settings in the query of a URL or in a list of KEY=VALUE.
func settingsOf(dsn string) map[string]string {
	settings := map[string]string{}
	_, rest, isURL := strings.Cut(dsn, "://")
	if !isURL {
		for _, word := range strings.Fields(dsn) {
			if name, value, ok := strings.Cut(word, "="); ok {
				settings[name] = strings.Trim(value, "'")
			}
		}
		return settings
	}
	_, query, _ := strings.Cut(rest, "?")
	for setting := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(setting, "=")
		if value, err := url.QueryUnescape(value); err == nil {
			settings[name] = value
		}
	}
	return settings
}

func oneOf(words ...string) func(string) bool {
	return func(value string) bool { return slices.Contains(words, value) }
}

func isWhole(value string) bool {
	for part := range strings.SplitSeq(value, ",") { // ports may be several
		if _, err := strconv.ParseUint(part, 10, 31); err != nil {
			return false
		}
	}
	return true
}
