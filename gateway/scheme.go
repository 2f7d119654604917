package gateway

import "strings"

// cutScheme takes off what REST has before a token.
func cutScheme(token string) string {
	for _, scheme := range []string{"Bearer ", "Bot "} {
		if len(token) > len(scheme) && strings.EqualFold(token[:len(scheme)], scheme) {
			return token[len(scheme):]
		}
	}
	return token
}
