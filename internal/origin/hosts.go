package origin

import (
	"net"
	"net/http"
	"strings"
)

// Hosts are the hosts that a server answers for. None at all is any.
//
// A web page whose name is made to stand for this machine (DNS rebinding) is of one origin with the server for
// its browser. All that tells its requests from others is the name, in the Host header.
type Hosts map[string]bool

// NewHosts returns these, in any form that Name takes, and loopback's own: localhost, 127.0.0.1 and [::1].
// Without names it is any. ok is false if one is no name, which wrong is.
func NewHosts(names []string) (hosts Hosts, wrong string, ok bool) {
	if len(names) == 0 {
		return nil, "", true
	}
	hosts = Hosts{"localhost": true, "127.0.0.1": true, "::1": true}
	for _, text := range names {
		name, ok := Name(text)
		if !ok {
			return nil, text, false
		}
		hosts[name] = true
	}
	return hosts, "", true
}

// Name returns a host's name, or address, in normal form. ok is false for what is none: with a port, a pattern, in
// another script than browsers send.
func Name(host string) (name string, ok bool) {
	if bareIPv6(host) {
		host = "[" + host + "]"
	}
	port := strings.LastIndexByte(host, ':') > strings.LastIndexByte(host, ']')
	odd := strings.ContainsFunc(host, func(r rune) bool { return r == '*' || r > '~' })
	if port || odd || !Valid(host) {
		return "", false
	}
	name, _, ok = split("", host)
	return name, ok
}

// Answer reports whether r asks for one of them, on any port, or for the very address that it came to: no name can be
// made to stand for another in that.
func (h Hosts) Answer(r *http.Request) bool {
	if len(h) == 0 {
		return true
	}
	name, _, ok := split("", r.Host)
	return ok && (h[name] || name == cameTo(r))
}

// cameTo returns the address at which r came in, "" if it is not known.
func cameTo(r *http.Request) string {
	if at, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		return at.AddrPort().Addr().Unmap().WithZone("").String()
	}
	return ""
}
