package server

import "strings"

// matches reports whether an If-None-Match header, given in these lines, names etag or
// is "*". The comparison is the weak one, as RFC 9110 has it for this header (section
// 13.1.2). From where it is malformed on, the header is ignored.
func matches(lines []string, etag string) bool {
	if len(lines) == 1 && lines[0] == etag { // as nearly always
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

// cutTag cuts one entity tag from the start of s and returns it without its W/. It may
// hold commas, so it is not enough to split at these.
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
