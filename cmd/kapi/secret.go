package main

import (
	"cmp"
	"encoding/base64"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/alecthomas/kong"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/wellformed"
)

// kapi gets passwords and tokens from the command line and its variables, and never prints them: not in
// errors, hints or logs. A word that could not be parsed is not quoted, as it may be a misplaced secret.

func isPostgres(store string) bool {
	scheme, _, ok := strings.Cut(strings.ToLower(store), "://")
	return ok && (scheme == "postgres" || scheme == "postgresql")
}

// harmlessSettings returns the settings of a DSN that are no secrets. Others are not shown: a part of a
// password that was not percent-encoded may look like a setting.
func harmlessSettings() []string {
	return []string{
		"user", "host", "hostaddr", "port", "dbname", "application_name", "connect_timeout", "target_session_attrs", "search_path",
		"sslmode", "sslcert", "sslkey", "sslrootcert", "sslcertmode", "sslnegotiation", "sslsni", "channel_binding", "require_auth",
		"passfile", "service", "servicefile", "default_query_exec_mode", "statement_timeout", "timezone",
	}
}

// withoutPassword returns a DSN to be shown, in which the user fills in the password. It works on the text
// rather than a parsed URL, as the password may not be percent-encoded.
func withoutPassword(store string) string {
	if !isPostgres(store) {
		return store
	}
	scheme, rest, _ := strings.Cut(store, "://")
	user := ""
	if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' {
		user, _, _ = strings.Cut(rest[:i], ":")
		user, rest = user+"@", rest[i+1:]
	}
	place, query, _ := strings.Cut(rest, "?")
	if strings.ContainsRune(place, '@') || strings.Contains(strings.ToLower(user), "%3a") {
		return scheme + "://..." // where the password ends can't be known
	}
	settings := slices.DeleteFunc(strings.Split(query, "&"), func(setting string) bool {
		name, _, _ := strings.Cut(setting, "=")
		name, err := url.QueryUnescape(name)
		return err != nil || !slices.Contains(harmlessSettings(), strings.ToLower(name))
	})
	if len(settings) > 0 {
		place += "?" + strings.Join(settings, "&")
	}
	return scheme + "://" + user + place
}

// secretsOf returns the words of a command line and its variables that may hold a secret, and the parts of
// them that may be one, the longest first.
func secretsOf(args, environ []string) (all []string) {
	for _, w := range wordsOf(args, environ) {
		if w.token || maySecret(w.text) {
			all = append(all, w.text)
			all = append(all, passwordsIn(w.text)...)
		}
		if w.token {
			all = append(all, strings.FieldsFunc(w.text, wellformed.IsPadding)...)
		}
	}
	all = slices.DeleteFunc(all, func(text string) bool { return len(text) < 4 }) // hiding those would garble messages
	for _, text := range slices.Clone(all) {
		all = append(all, forms(text)...)
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return slices.Compact(all)
}

// A word is an argument, or the value of a flag or variable.
type word struct {
	text  string
	value bool // the value of a flag or variable, as far as the text alone shows
	token bool // the value of --token or KAPI_TOKEN
}

// wordsOf returns the words of a command line, up to the command that kapi is to run, and of its variables.
func wordsOf(args, environ []string) (all []word) {
	flag := ""
	for _, arg := range args {
		if arg == "--" {
			break
		}
		name, value, assigns := strings.Cut(arg, "=")
		switch {
		case strings.HasPrefix(arg, "-") && assigns:
			all = append(all, word{text: name}, word{value, true, name == "--token"})
		default:
			all = append(all, word{arg, strings.HasPrefix(flag, "--"), flag == "--token"})
		}
		if flag = arg; assigns {
			flag = ""
		}
	}
	for _, variable := range environ {
		if name, value, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "KAPI_") {
			all = append(all, word{value, true, name == "KAPI_TOKEN"})
		}
	}
	return all
}

// forms returns the forms in which an error may quote a text.
func forms(text string) (all []string) {
	for _, t := range []string{text, strings.ToLower(text)} {
		quoted := strconv.Quote(t)
		all = append(all, t, quoted[1:len(quoted)-1], plain(t), strings.ReplaceAll(t, "'", `'\''`))
	}
	return all
}

// maySecret reports whether a word may hold a password or a token, whichever flag it was given to.
func maySecret(text string) bool {
	lower := strings.ToLower(text)
	assigns := func() bool {
		return secretSetting().MatchString(lower)
	}
	if strings.ContainsAny(text, "=:") && assigns() || slices.ContainsFunc(strings.Fields(text), isTokenLike) {
		return true
	}
	return len(passwordsIn(text)) > 0
}

// passwordsIn returns what may be the password in a URL, or in a word that resembles one: the text between
// the first colon and the last @. Without a colon it is the user, which may be a secret in URLs other than
// PostgreSQL's.
func passwordsIn(text string) []string {
	scheme, rest, isURL := strings.Cut(text, "://")
	if !isURL {
		scheme, rest = "", text
	}
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return nil
	}
	_, password, ok := strings.Cut(rest[:at], ":")
	switch {
	case ok:
		return []string{password}
	case isURL && !isPostgres(scheme+"://"):
		return []string{rest[:at]}
	}
	return nil
}

// isTokenLike reports whether a word has the form of a kAPI token: three parts in base64, the last of which
// is the secret.
func isTokenLike(word string) bool {
	parts := strings.Split(word, ".")
	const shortest = 20
	if len(parts) != 3 || len(parts[2]) < shortest {
		return false
	}
	for _, part := range parts {
		if _, err := base64.RawURLEncoding.DecodeString(part[:len(part)/4*4]); err != nil {
			return false
		}
	}
	return true
}

// hide replaces the secrets of the command line in a text.
func (a *app) hide(text string) string {
	for _, secret := range a.secrets {
		text = strings.ReplaceAll(text, secret, hidden)
	}
	return text
}

const hidden = "..."

var (
	secretSetting = lazy(`(pass|pwd|secret|token)\w*["' ]*[=:]`)
	variable      = lazy(`(?s) \(from envar (\w+)=.*\)$`)
	nameLike      = lazy(`^-{0,2}[a-z]{1,20}(-[a-z]{1,20}){0,3}$`)
	numberLike    = lazy(`^[-+]?[0-9.:/]{1,24}[a-z]{0,2}$`)
)

// lazy returns an expression that is compiled when it is first needed: most command lines need none.
func lazy(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// unquoted returns the text of an error about the command line without the words that it quotes: a word that
// could not be parsed may be a misplaced secret. Numbers, and words that look like the name of a command or
// a flag, are left. known are the existing names.
func unquoted(text string, words []word, known []string) string {
	from := ""
	if m := variable().FindStringSubmatchIndex(text); m != nil {
		text, from = text[:m[0]], " (from "+text[m[2]:m[3]]+")"
	}
	var odd []string
	for _, w := range words {
		parts := []string{w.text, strings.TrimLeft(w.text, "-")}
		for part := range strings.SplitSeq(w.text, ",") {
			parts = append(parts, part, strings.TrimSpace(part))
		}
		if strings.HasPrefix(w.text, "-h") {
			parts = append(parts, w.text[2:]) // the text after the only short flag
		}
		if !w.value {
			parts = slices.DeleteFunc(parts, isName)
		}
		odd = append(odd, parts...)
	}
	odd = slices.DeleteFunc(odd, func(text string) bool {
		if _, err := auth.ParsePermissions(text); err == nil {
			return true
		}
		return strings.Trim(text, "- ") == "" || text == "sqlite:" || isNumber(text) || slices.Contains(known, strings.TrimLeft(text, "-"))
	})
	for _, text := range slices.Clone(odd) {
		odd = append(odd, forms(text)...)
	}
	slices.SortFunc(odd, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, o := range odd {
		text = cutWord(text, o)
	}
	return text + from
}

// cutWord hides a word in a text. A short word, which may be a part of others, is hidden only where it stands
// alone.
func cutWord(text, word string) string {
	at := strings.Index(text, word)
	if at < 0 {
		return text
	}
	cut := func() string { return strings.ReplaceAll(text, word, hidden) }
	if (len(word) < 4 || isName(word)) && utf8.ValidString(word) {
		alone := regexp.MustCompile(`(^|[^\pL\pN-])` + regexp.QuoteMeta(word) + `($|[^\pL\pN-])`)
		at = slices.Max(append(alone.FindStringIndex(text), -1))
		cut = func() string { return alone.ReplaceAllString(text, "${1}"+hidden+"${2}") }
	}
	if at < 0 {
		return text
	}
	if got := strings.Index(text, " but got "); got >= 0 && got < at {
		return strings.TrimRight(text[:got], ", ") // parts of the word may follow
	}
	return cut()
}

func isName(text string) bool {
	return nameLike().MatchString(text)
}

// isNumber reports whether a text is a number, a duration or a numeric address.
func isNumber(text string) bool {
	return numberLike().MatchString(text)
}

// unread is an error about a command line, without the words that it quoted.
type unread struct {
	error
	text string
}

func (u *unread) Error() string { return u.text }
func (u *unread) Unwrap() error { return u.error }

// unquoted removes the quoted words from an error in parsing the command line.
func (a *app) unquoted(err error, args []string, model *kong.Node) error {
	if !is[*usageError](err) && !is[*kong.ParseError](err) {
		return err
	}
	return &unread{err, unquoted(err.Error(), wordsOf(args, os.Environ()), namesIn(model))}
}

// namesIn returns the names of all commands, flags and values.
func namesIn(node *kong.Node) (names []string) {
	names = append(names, node.Name)
	for _, f := range node.Flags {
		names = append(names, f.Name)
		names = append(names, values(f.Value)...)
	}
	for _, p := range node.Positional {
		names = append(names, values(p)...)
	}
	for _, child := range node.Children {
		names = append(names, namesIn(child)...)
	}
	return names
}
