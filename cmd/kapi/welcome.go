package main

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/server"
)

// What kapi serve tells whoever starts it on a terminal.

// welcome tells how to get in, if nobody can yet: a store without tokens is a new
// one. A secret goes to a terminal only, as the rest ends in files.
func (a *app) welcome(ctx context.Context, s *session, address string) error {
	tokens, err := s.store.Tokens(ctx)
	if err != nil || slices.ContainsFunc(tokens, func(t auth.Token) bool { return !t.Session }) {
		return err
	}
	if !term.IsTerminal(int(os.Stdout.Fd())) {
		return writeln(a.stdout, "No token exists yet. Make one: %s token create %s--name admin --perms admin", a.self(), a.storeArgument())
	}
	secret, token, err := auth.New("admin", auth.TypeUser, auth.Admin, 0)
	if err != nil {
		return err
	}
	if err := s.store.AddToken(ctx, token); err != nil {
		return err
	}
	return writeln(a.stdout, `This is the first start on this store, so here is an admin token. It is shown only once:

    %s

kapi serves on %s. Try it:

    curl -H 'Authorization: Bearer %s' %s/v4/kapi/actions
`, secret, address, secret, address)
}

// invite shows the way to the page, with a link that signs in. Like a token it goes to a terminal
// only, though it is worth nothing any more once it was used.
func (a *app) invite(authenticator *auth.Authenticator, handler *server.Server, address string) error {
	if !term.IsTerminal(int(os.Stdout.Fd())) {
		return nil
	}
	link := handler.SignInLink(func(ctx context.Context) (auth.Session, error) {
		return authenticator.BeginSessionWithout(ctx, "the link of kapi serve", auth.Admin)
	})
	return writeln(a.stdout, "The page shows what is going on. This link signs you in, once, within %d minutes:\n\n    %s/%s\n",
		int(server.LinkFor.Minutes()), address, link)
}

// browsable is a URL that a browser can open, and that is answered: what listens everywhere has no address of its
// own, so it is called by the first of its hosts, or by the name of the machine.
func browsable(address string, hosts []string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.IsUnspecified() {
		if len(hosts) > 0 {
			u.Host = net.JoinHostPort(strings.Trim(hosts[0], "[]"), u.Port())
		} else if name, err := os.Hostname(); err == nil {
			u.Host = net.JoinHostPort(name, u.Port())
		}
	}
	return u.String()
}
