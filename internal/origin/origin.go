// Package origin examines the host that a request was sent to: whether a browser sent the request for a
// page of the same origin, and whether the server answers for that host at all. It is pure.
package origin

import (
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Own reports whether r is anything but a browser's request from a page of another origin. It returns
// the host in the Origin header as the browser wrote it, "" if there is none.
//
// Sec-Fetch-Site is set by the browser alone, on secure connections. Where it says same-origin, the
// scheme is not compared: behind a proxy that ends TLS, and isn't trusted to say so, only the browser
// knows it.
func Own(r *http.Request) (host string, own bool) {
	scheme := Scheme(r)
	switch r.Header.Get("Sec-Fetch-Site") {
	case "":
	case "same-origin":
		scheme = ""
	default:
		return "", false
	}
	from := r.Header.Get("Origin")
	if from == "" {
		return "", true
	}
	return Same(from, scheme, r.Host)
}

// Scheme returns the scheme that the client used. If the request came through a trusted proxy, it must
// have been set in r.URL.
func Scheme(r *http.Request) string {
	if r.TLS != nil || r.URL.Scheme == "https" {
		return "https"
	}
	return "http"
}

// Same reports whether an Origin header names the scheme and host that a request was sent to, and
// returns the host as written in that header: Same("https://kapi.example", "https", "Kapi.Example:443")
// returns "kapi.example" and true. Default ports (80, 443), the case of ASCII letters, the trailing dot
// and the form of an IPv6 address make no difference. Names in other scripts are compared as they are,
// since browsers send them in ASCII. An empty scheme matches any.
func Same(origin, scheme, host string) (written string, same bool) {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Path != "" || scheme != "" && u.Scheme != scheme {
		return "", false
	}
	name, port, ok := split(u.Scheme, u.Host)
	asked, askedPort, okAsked := split(u.Scheme, host)
	return u.Host, ok && okAsked && name == asked && port == askedPort
}

// Shown returns a host without the scheme's default port.
func Shown(scheme, host string) string {
	if _, port, ok := split(scheme, host); ok && port == 0 {
		if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
			return host[:i]
		}
	}
	return host
}

// Valid reports whether text can be the host of a URL, with or without a port.
func Valid(host string) bool {
	u, err := url.Parse("//" + host)
	if err != nil || u.Host != host || u.User != nil || bareIPv6(host) {
		return false
	}
	_, _, ok := split("", host)
	return ok
}

// split splits a host into its name in normal form and its port, 0 for the scheme's default. If no port
// follows, an IPv6 address may lack its brackets, as some proxies send it.
func split(scheme, host string) (name string, port uint16, ok bool) {
	if bareIPv6(host) {
		return normalIPv6(host), 0, true
	}
	name, digits := host, ""
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		name, digits = host[:i], host[i+1:]
	}
	if digits != "" {
		n, err := strconv.ParseUint(digits, 10, 16)
		if err != nil {
			return "", 0, false
		}
		port = uint16(n)
	}
	if port == defaultPort(scheme) {
		port = 0
	}
	if inner, ok := strings.CutPrefix(name, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		return normalIPv6(inner), port, ok && bareIPv6(inner)
	}
	name = strings.TrimSuffix(lower(name), ".")
	return name, port, name != "" && !strings.ContainsAny(name, "[]:")
}

func bareIPv6(text string) bool {
	ip, err := netip.ParseAddr(text)
	return err == nil && ip.Is6()
}

func normalIPv6(text string) string {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return ""
	}
	return ip.String()
}

func defaultPort(scheme string) uint16 {
	switch scheme {
	case "http", "ws":
		return 80
	case "https", "wss":
		return 443
	}
	return 0
}

// lower is strings.ToLower for ASCII alone: strings.ToLower turns the Kelvin sign into a k.
func lower(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, text)
}
