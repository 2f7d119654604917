package auth

import "strings"

// The schemes with which a token comes in an Authorization header: a person's with one, that of a bot or
// of kettu itself with the other.
const (
	SchemeBearer = "Bearer"
	SchemeBot    = "Bot"
)

// CutScheme splits what may be an Authorization header, or a token alone, into scheme and secret: "",
// and the whole text, if it has neither scheme. Schemes are compared in any case (RFC 9110, section
// 11.1), and returned as they are written.
func CutScheme(text string) (scheme, secret string) {
	word, rest, ok := strings.Cut(text, " ")
	if ok && (strings.EqualFold(word, SchemeBearer) || strings.EqualFold(word, SchemeBot)) {
		return word, strings.TrimLeft(rest, " ")
	}
	return "", text
}
