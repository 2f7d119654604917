package postgres

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

const (
	// connectTimeout limits the attempt to connect to one address of a host, unless the DSN sets it. A
	// server may need that long when many clients connect at once.
	connectTimeout = 5 * time.Second
	// dialTimeout limits the network's part of that. It is shorter, so that after a machine that has
	// vanished there is time for the next host before a change is refused.
	dialTimeout = 2 * time.Second
	// deadAfter is how long the other end of a connection may acknowledge nothing before the
	// connection counts as broken.
	deadAfter = 10 * time.Second
)

// parse parses a DSN and adds kapi's defaults. Its errors never quote the DSN, because a DSN that can't
// be parsed may contain the password anywhere.
func parse(dsn string) (*pgx.ConnConfig, error) {
	dsn, known := normal(dsn)
	config, err := pgx.ParseConfig(dsn)
	if known && err != nil && !ambiguous(dsn) {
		if wrong := flaw(dsn, err); wrong != nil {
			return nil, wrong
		}
	}
	if !known || err != nil || ambiguous(dsn) || odd(config) {
		return nil, &kapi.InvalidError{
			Field:  "DSN",
			Reason: "must be postgres://USER@HOST:PORT/DATABASE, with special characters in a password percent-encoded (@ is %40, / is %2F)",
		}
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	if config.ValidateConnect == nil {
		// A standby can't be written to, and reads from it lag behind.
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	config.RuntimeParams["client_encoding"] = "UTF8"
	return config, nil
}

// normal trims a DSN, and converts the scheme of a URL to lower case, as pgx needs it. It is false for a
// URL with another scheme: pgx would parse that as settings, and quote them in errors.
func normal(dsn string) (string, bool) {
	dsn = strings.TrimFunc(dsn, func(r rune) bool { return unicode.IsSpace(r) || r == '\uFEFF' })
	scheme, rest, isURL := strings.Cut(dsn, "://")
	if !isURL || strings.ContainsAny(scheme, "= ") {
		return dsn, true
	}
	scheme = strings.ToLower(scheme)
	return scheme + "://" + rest, scheme == "postgres" || scheme == "postgresql"
}

// odd reports whether something that kapi would show (a host, the database, the name of a setting) looks
// like another part of a DSN, which may contain the password.
func odd(config *pgx.ConnConfig) bool {
	for name := range config.RuntimeParams {
		if strings.ContainsFunc(name, func(r rune) bool {
			return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_.$", r)
		}) {
			return true
		}
	}
	if strings.Contains(config.Database, "://") || strings.Contains(strings.ToLower(config.Database), "password=") {
		return true
	}
	if oddHost(config.Host) {
		return true
	}
	return slices.ContainsFunc(config.Fallbacks, func(f *pgconn.FallbackConfig) bool { return oddHost(f.Host) })
}

func oddHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || filepath.IsAbs(host) {
		return false
	}
	return strings.ContainsAny(host, ":@=?#&' ")
}

// shownSettings are the settings of a DSN that may appear in a quoted error of the server.
func shownSettings() []string {
	return []string{"application_name", "client_encoding", "search_path", "timezone"}
}

// discreet replaces the server's message about a refused connection if it repeats parts of the DSN: the end of
// a password that was not percent-encoded may have been parsed as a setting, and a password as part of the user.
func discreet(config *pgx.ConnConfig, err error) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return err
	}
	said := err.Error()
	repeats := strings.Contains(config.User, ":") && strings.Contains(said, config.User)
	for name, value := range config.RuntimeParams {
		repeats = repeats || !slices.Contains(shownSettings(), name) &&
			(strings.Contains(said, name) || value != "" && strings.Contains(said, value))
	}
	if !repeats {
		return err
	}
	return &pgconn.PgError{
		Severity: refused.Severity, SeverityUnlocalized: refused.SeverityUnlocalized, Code: refused.Code,
		Message: "it rejects the DSN; its message repeats parts of the DSN, so it is not shown",
	}
}

// ambiguous reports whether a URL may mean something else than it is parsed as. If its password has
// special characters, a part of the password may be taken for the host or the database, and be shown.
func ambiguous(dsn string) bool {
	_, rest, isURL := strings.Cut(dsn, "://")
	if !isURL || !strings.HasPrefix(dsn, "postgres") {
		return false // settings can be parsed in only one way
	}
	secret := false
	if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' {
		secret = strings.ContainsRune(rest[:i], ':')
		rest = rest[i+1:]
	}
	place, query, _ := strings.Cut(rest, "?")
	if strings.ContainsRune(place, '@') || secret && strings.ContainsRune(query, '@') {
		return true
	}
	return slices.ContainsFunc(strings.Split(query, "&"), func(setting string) bool {
		return strings.ContainsRune(setting, '@') && !strings.HasPrefix(setting, "password=")
	})
}

// applicationName shows an admin which process a connection belongs to, and what it is for.
func applicationName(role string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}
	return fmt.Sprintf("kapi %s %d@%s", role, os.Getpid(), host)
}

// nameOf returns the name of a database, without a password.
func nameOf(config *pgx.ConnConfig) string {
	if strings.HasPrefix(config.Host, "/") {
		return fmt.Sprintf("postgres:///%s?host=%s&port=%d", config.Database, config.Host, config.Port)
	}
	return "postgres://" + strings.Join(hostsOf(config), ",") + "/" + config.Database
}

// hostsOf lists each host once. pgx lists a host twice if it tries it with and without TLS.
func hostsOf(config *pgx.ConnConfig) []string {
	hosts := []string{net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))}
	for _, f := range config.Fallbacks {
		if host := net.JoinHostPort(f.Host, strconv.Itoa(int(f.Port))); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// checkSchema refuses a name that no schema can have.
func checkSchema(name string) error {
	switch {
	case len(name) > 63:
		return &kapi.InvalidError{Field: "schema", Reason: "has more than 63 bytes"}
	case strings.HasPrefix(name, "pg_"), strings.ContainsRune(name, 0), !utf8.ValidString(name):
		return &kapi.InvalidError{Field: "schema", Reason: "can't be a name in PostgreSQL"}
	}
	return nil
}

// explain adds kapi.ErrUnavailable, and what PostgreSQL's error code means, to an error.
func explain(err error) error {
	switch {
	case err == nil, errors.Is(err, kapi.ErrUnavailable), errors.Is(err, store.ErrBehind), errors.Is(err, store.ErrKeyTaken):
		return err // explained already
	case errors.Is(err, pgconn.ErrReadOnlyConnection):
		return fmt.Errorf("%w: it can't be written to: it is a standby, or its user's transactions are read-only", kapi.ErrUnavailable)
	}
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return fmt.Errorf("%w: %w", kapi.ErrUnavailable, flat{err})
	}
	why := meaning(refused.Code)
	if why == "" {
		return fmt.Errorf("%w: %w", kapi.ErrUnavailable, flat{err})
	}
	return fmt.Errorf("%w: %s (%w)", kapi.ErrUnavailable, why, &answer{refused})
}

// meaning describes an SQLSTATE. It returns "" for a code that it doesn't know.
func meaning(code string) string {
	switch code {
	case "28P01", "28000":
		return "it refuses the user or the password"
	case "3D000":
		return "there is no such database"
	case "42501":
		return "the user lacks the rights that kapi needs, see docs/postgres.md"
	case "53300":
		return "it has no connections left"
	case "53100":
		return "its disk is full"
	case "53200":
		return "it is out of memory"
	case "55P03":
		return "another process holds its write lock"
	case "57014":
		return "it took too long"
	case "57P01":
		return "an admin ended the connection"
	case "57P02":
		return "it has crashed and is restarting"
	case "57P03":
		return "it is starting up or shutting down"
	case "25P03":
		return "this process stood still inside a transaction, which the server ended"
	case "25006", "55000":
		return "it can't be written to: it is a standby"
	case "3F000", "42P01":
		return "kapi's tables are gone"
	case "42703":
		return "its tables are from another build of kapi"
	}
	switch {
	case strings.HasPrefix(code, "08"):
		return "the connection broke"
	case strings.HasPrefix(code, "XX"), strings.HasPrefix(code, "58"):
		return "it can't read or write its files"
	}
	return ""
}

// An answer is an error of the server, in one line.
type answer struct{ *pgconn.PgError }

func (a *answer) Unwrap() error { return a.PgError }

func (a *answer) Error() string { return strings.ToLower(a.Severity) + " " + a.Code + ": " + a.Message }

// A flat is an error whose text is one line.
type flat struct{ error }

func (f flat) Unwrap() error { return f.error }

func (f flat) Error() string {
	lines := strings.Split(f.error.Error(), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(slices.Compact(lines), "; ")
}
