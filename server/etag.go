package server

import "strings"

// matches reports whether an If-None-Match header with these lines names etag or is "*". It uses weak
// comparison (RFC 9110, section 13.1.2). If the header is malformed, it is ignored from there on.
func matches(lines []string, etag string) bool {
	if len(lines) == 1 && lines[0] == etag { // the usual case
		return true
	}
	rest := strings.Join(lines, ",")
	if strings.Trim(rest, " \t") == "*" {
		return true
	}
	for {
		rest = strings.TrimLeft(rest, " \t,")
		tag, after, ok := cutTag(rest)
		if !ok {
			return false
		}
		if tag == etag {
			return true
		}
		rest = after
	}
}

// cutTag cuts one entity tag from the start of s and returns it without W/. A tag may contain commas, so
// splitting at them is not enough.
func cutTag(s string) (tag, after string, ok bool) {
	s = strings.TrimPrefix(s, "W/")
	if !strings.HasPrefix(s, `"`) {
		return "", "", false
	}
	end := strings.IndexByte(s[1:], '"')
	if end < 0 {
		return "", "", false
	}
	return s[:end+2], s[end+2:], true
}
