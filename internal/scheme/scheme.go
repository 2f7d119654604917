// Package scheme has the schemes of the Authorization header that come with a token.
package scheme

import "strings"

const (
	// Bearer is for a person's token.
	Bearer = "Bearer"
	// Bot is for the token of a bot, or of kettu itself.
	Bot = "Bot"
)

// Cut splits an Authorization header, or a token alone, into scheme and secret. If text begins with
// neither scheme, it returns "" and the whole text. Schemes are compared in any case (RFC 9110, section
// 11.1) and returned as written.
func Cut(text string) (scheme, secret string) {
	word, rest, ok := strings.Cut(text, " ")
	if ok && (strings.EqualFold(word, Bearer) || strings.EqualFold(word, Bot)) {
		return word, strings.TrimLeft(rest, " ")
	}
	return "", text
}
