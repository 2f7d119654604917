package origin

import (
	"net"
	"net/http"
	"strings"
)

// Hosts are the hosts that a server answers for. Empty means any.
//
// It guards against DNS rebinding: when a page's own name is made to resolve to this machine, the
// browser takes the server for the page's origin. Only the name in the Host header gives such requests
// away.
type Hosts map[string]bool

// NewHosts returns the given hosts, in any form that Name takes, plus localhost, 127.0.0.1 and [::1].
// Without names it returns the empty Hosts. If a name is not valid, ok is false and wrong is that name.
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

// Name returns a host name or address in normal form. ok is false if it isn't valid: if it has a port,
// is a pattern, or isn't in the ASCII form that browsers send.
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

// Answer reports whether r's Host is one of h, on any port, or the IP address that r was sent
// to: a browser sends that as Host only if the page's URL has the address itself, and no name.
func (h Hosts) Answer(r *http.Request) bool {
	if len(h) == 0 {
		return true
	}
	name, _, ok := split("", r.Host)
	return ok && (h[name] || name == cameTo(r))
}

// cameTo returns the address that r came in on, "" if it isn't known.
func cameTo(r *http.Request) string {
	if at, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		return at.AddrPort().Addr().Unmap().WithZone("").String()
	}
	return ""
}
