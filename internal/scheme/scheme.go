// Package scheme knows the schemes with which a token comes in an Authorization header.
package scheme

import "strings"

const (
	// Bearer is for a person's token.
	Bearer = "Bearer"
	// Bot is for the token of a bot, or of kettu itself.
	Bot = "Bot"
)

// Cut splits what may be an Authorization header, or a token alone, into scheme and secret: "", and
// the whole text, if it has neither scheme. Schemes are compared in any case (RFC 9110, section
// 11.1), and returned as they are written.
func Cut(text string) (scheme, secret string) {
	word, rest, ok := strings.Cut(text, " ")
	if ok && (strings.EqualFold(word, Bearer) || strings.EqualFold(word, Bot)) {
		return word, strings.TrimLeft(rest, " ")
	}
	return "", text
}
