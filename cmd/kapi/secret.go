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
	"unicode/utf8"

	"github.com/alecthomas/kong"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/wellformed"
)

// Passwords and tokens come in with the command line and its variables, and go out in nothing that kapi
// prints: not in errors, hints or logs. What could not be read as what it was meant for is quoted nowhere.

func isPostgres(store string) bool {
	scheme, _, ok := strings.Cut(strings.ToLower(store), "://")
	return ok && (scheme == "postgres" || scheme == "postgresql")
}

// harmlessSettings are those of a DSN that are no secret. The others are not shown: of a password that was
// not percent-encoded, a part may look like one.
func harmlessSettings() []string {
	return []string{
		"user", "host", "hostaddr", "port", "dbname", "application_name", "connect_timeout", "target_session_attrs", "search_path",
		"sslmode", "sslcert", "sslkey", "sslrootcert", "sslcertmode", "sslnegotiation", "sslsni", "channel_binding", "require_auth",
		"passfile", "service", "servicefile", "default_query_exec_mode", "statement_timeout", "timezone",
	}
}

// withoutPassword is for what is shown: whoever copies it fills the password in. It goes by the text,
// as a password that is not percent-encoded is one all the same.
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
		return scheme + "://..." // of a password, who knows where it ends
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

// secretsOf returns what of a command line and its variables may hold a secret, and the parts of those that
// are one, the longest first.
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
	all = slices.DeleteFunc(all, func(text string) bool { return len(text) < 4 }) // to hide those would garble what is told
	for _, text := range slices.Clone(all) {
		all = append(all, forms(text)...)
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return slices.Compact(all)
}

// A word is something that was given to kapi.
type word struct {
	text  string
	value bool // of a flag or a variable, as far as the text alone tells
	token bool
}

// wordsOf returns what stands on a command line and in its variables, up to the command that kapi is to run.
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

// forms are those in which an error may quote a text.
func forms(text string) (all []string) {
	for _, t := range []string{text, strings.ToLower(text)} {
		quoted := strconv.Quote(t)
		all = append(all, t, quoted[1:len(quoted)-1], plain(t), strings.ReplaceAll(t, "'", `'\''`))
	}
	return all
}

// maySecret reports whether a word looks as if it held a password or a token, whatever it was meant for.
func maySecret(text string) bool {
	lower := strings.ToLower(text)
	assigns := regexp.MustCompile(`(pass|pwd|secret|token)\w*["' ]*[=:]`)
	if assigns.MatchString(lower) || slices.ContainsFunc(strings.Fields(text), isTokenLike) {
		return true
	}
	return len(passwordsIn(text)) > 0
}

// passwordsIn returns what may be the password in a URL, or in a word like one: what stands between the
// first colon and an @. Without a colon it is the user, which for all but databases may be a secret.
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

// isTokenLike reports whether a word has the form of a token of kAPI's: three parts in base64, the last
// of which is the secret.
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

// hide takes out of a text what of the command line it repeats and may hold a secret.
func (a *app) hide(text string) string {
	for _, secret := range a.secrets {
		text = strings.ReplaceAll(text, secret, hidden)
	}
	return text
}

const hidden = "..."

// unquoted is the text of a complaint about the command line without the words that it quotes: what could not
// be read may be a secret that was meant for elsewhere. What looks like the name of a command or a flag, and
// numbers, are left. known are the names that there are.
func unquoted(text string, words []word, known []string) string {
	from := ""
	if m := regexp.MustCompile(`(?s) \(from envar (\w+)=.*\)$`).FindStringSubmatchIndex(text); m != nil {
		text, from = text[:m[0]], " (from "+text[m[2]:m[3]]+")"
	}
	var odd []string
	for _, w := range words {
		parts := []string{w.text, strings.TrimLeft(w.text, "-")}
		for part := range strings.SplitSeq(w.text, ",") {
			parts = append(parts, part, strings.TrimSpace(part))
		}
		if strings.HasPrefix(w.text, "-h") {
			parts = append(parts, w.text[2:]) // what stands behind the one flag of a single letter
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

// cutWord hides a word in a text; a short one, which may be a part of any other, only where it stands by itself.
func cutWord(text, word string) string {
	at := strings.Index(text, word)
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
		return strings.TrimRight(text[:got], ", ") // behind it, parts of the word may stand
	}
	return cut()
}

func isName(text string) bool {
	return regexp.MustCompile(`^-{0,2}[a-z]{1,20}(-[a-z]{1,20}){0,3}$`).MatchString(text)
}

// isNumber reports whether a text is a number, a duration, or an address in numbers.
func isNumber(text string) bool {
	return regexp.MustCompile(`^[-+]?[0-9.:/]{1,24}[a-z]{0,2}$`).MatchString(text)
}

// unread is a complaint about a command line, without the words that it quoted.
type unread struct {
	error
	text string
}

func (u *unread) Error() string { return u.text }
func (u *unread) Unwrap() error { return u.error }

// unquoted keeps what a command line has from being quoted, by what could not read it.
func (a *app) unquoted(err error, args []string, model *kong.Node) error {
	if !is[*usageError](err) && !is[*kong.ParseError](err) {
		return err
	}
	return &unread{err, unquoted(err.Error(), wordsOf(args, os.Environ()), namesIn(model))}
}

// namesIn are those of all commands, flags and values that there are.
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
