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

// What kapi serve prints when it starts.

// welcome prints how to sign in to a new store, which is one without tokens. It prints a secret only on a
// terminal, as other output ends up in files.
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

// invite prints a link that signs in on the page. Like a token, it goes only to a terminal, although it can
// be used only once.
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

// browsable returns a URL that a browser can open and the server answers. In place of an unspecified address,
// such as 0.0.0.0, it has the first of the hosts, or the name of the machine.
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
