package client

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

const mostRedirects = 10 // as in net/http

// careful returns a copy of o that follows no redirect which would send the token to another host, or from
// https to http. net/http itself keeps the Authorization header for a host and its subdomains, on any port
// and over http; and a gateway gets the token in a message.
func careful(o *http.Client) *http.Client {
	c, before := *o, o.CheckRedirect
	c.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		from, to := via[len(via)-1].URL, req.URL
		safer := from.Scheme == "http" && to.Scheme == "https" && from.Hostname() == to.Hostname()
		switch {
		case from.Scheme == "https" && to.Scheme != "https":
			return fmt.Errorf("it redirects to %s://%s, where others could read the token on the way", to.Scheme, to.Host)
		case !strings.EqualFold(from.Host, to.Host) && !safer:
			return fmt.Errorf("it redirects to another host: use %s://%s if you trust that with the token", to.Scheme, to.Host)
		case before != nil:
			return before(req, via)
		case len(via) >= mostRedirects:
			return errors.New("it redirects without end")
		}
		return nil
	}
	return &c
}
