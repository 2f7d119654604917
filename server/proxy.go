package server

import (
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"

	"github.com/kettubot/kapi/internal/origin"
)

// behindProxy returns r as the client sent it to the first of the trusted proxies.
func (s *Server) behindProxy(r *http.Request) *http.Request {
	if len(s.options.TrustedProxies) == 0 || !s.trusted(r.RemoteAddr) {
		return r
	}
	client := r.RemoteAddr
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && s.trusted(client); i-- {
		hop := strings.TrimSpace(hops[i])
		if _, ok := parseAddress(hop); !ok {
			break // not an address, so no trusted proxy wrote it
		}
		client = hop
	}
	u := new(url.URL)
	*u = *r.URL
	if strings.EqualFold(last(r, "X-Forwarded-Proto"), "https") {
		u.Scheme = "https"
	}
	seen := new(http.Request)
	*seen = *r
	seen.RemoteAddr, seen.URL = client, u
	if host := last(r, "X-Forwarded-Host"); origin.Valid(host) {
		seen.Host = host
	}
	if prefix := last(r, "X-Forwarded-Prefix"); isPrefix(prefix) && strings.HasPrefix(r.RequestURI, "/") {
		seen.RequestURI = strings.TrimSuffix(prefix, "/") + r.RequestURI // the proxy stripped the prefix
	}
	return seen
}

// last returns the last value of a header that is a list. The trusted proxy wrote it; earlier ones may come
// from the client.
func last(r *http.Request, name string) string {
	all := strings.Split(strings.Join(r.Header.Values(name), ","), ",")
	return strings.TrimSpace(all[len(all)-1])
}

// isPrefix reports whether text is a clean, escaped path that a browser doesn't change, and doesn't take
// for a host ("//...").
func isPrefix(text string) bool {
	u, err := url.ParseRequestURI(text)
	if err != nil || u.EscapedPath() != text || strings.ContainsAny(text, `%;,\`) {
		return false
	}
	return text == "/" || text[0] == '/' && text[1] != '/' && path.Clean(text) == strings.TrimSuffix(text, "/")
}

func (s *Server) trusted(address string) bool {
	ip, ok := parseAddress(address)
	return ok && contains(s.options.TrustedProxies, ip)
}

// parseAddress reads an address with or without a port.
func parseAddress(address string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(address); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	ip, err := netip.ParseAddr(strings.Trim(address, "[]"))
	return ip.Unmap().WithZone(""), err == nil
}
