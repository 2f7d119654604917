package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kettubot/kapi/auth"
)

type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Make a token and print it, and nothing else, on stdout. It can't be shown again."`
	Ls     tokenLsCmd     `cmd:"" help:"List the tokens and the sessions of the web page."`
	Revoke tokenRevokeCmd `cmd:"" help:"Revoke a token and end its sessions, or end a session."`
}

type tokenCreateCmd struct {
	Name    string   `required:"" help:"Who the token is for. Lists and logs show this name."`
	Type    string   `enum:"user,bot,kettu" default:"user" help:"Who will use the token: user, bot or kettu."`
	Perms   *string  `placeholder:"PERM,..." help:"What the token permits, separated by commas. admin: everything about actions, and the metrics. run: start actions, and report on, list and cancel those. metrics: read the metrics. owner, kettu: from kAPI, the same as admin here. --perms= permits nothing."`
	Expires lifetime `placeholder:"DUR" help:"How long the token is valid, such as 12h or 90d. By default it never expires."`
}

// A lifetime is a duration that may be in days.
type lifetime time.Duration

// UnmarshalText accepts what time.ParseDuration accepts, or a number of days such as 90d.
func (l *lifetime) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		d = time.Duration(n) * 24 * time.Hour
		if n > int(100*365) {
			err = errors.New("too long")
		}
	}
	if err != nil || d < time.Millisecond {
		return fmt.Errorf("%q is not a duration above 0, such as 12h or 90d", text)
	}
	*l = lifetime(d)
	return nil
}

func (c *tokenCreateCmd) Run(a *app) error {
	if c.Perms == nil {
		return usage("--perms must say what the token permits: admin (everything about actions, and the metrics), run (start actions, and report on, list and cancel those), " +
			"metrics (read the metrics), owner or kettu (from kAPI, the same as admin here), or '' (nothing)")
	}
	perms, err := auth.ParsePermissions(*c.Perms)
	if err != nil {
		return usage("--perms: %v", err)
	}
	secret, token, err := auth.New(c.Name, auth.Type(c.Type), perms, time.Duration(c.Expires))
	if err != nil {
		return usage("%v", err)
	}
	return a.withStore(func(s store) error {
		if err := s.AddToken(context.Background(), token); err != nil {
			return err
		}
		return writeln(a.stdout, "%s", secret)
	})
}

type tokenLsCmd struct{}

func (c *tokenLsCmd) Run(a *app) error {
	return a.withStore(func(s store) error {
		tokens, err := s.Tokens(context.Background())
		if err != nil {
			return err
		}
		if len(tokens) == 0 {
			a.eprintf("no tokens in %s", storeName(s))
			return nil
		}
		w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tNAME\tTYPE\tPERMISSIONS\tCREATED\tEXPIRES\tBY")
		for _, row := range tokenRows(tokens) {
			fmt.Fprintln(w, strings.Join(row, "\t"))
		}
		return w.Flush()
	})
}

// tokenRows returns the rows of kapi token ls. A session has the permissions of its token.
func tokenRows(tokens []auth.Token) (rows [][]string) {
	perms := make(map[string]auth.Permissions)
	for _, t := range tokens {
		perms[t.ID] = t.Permissions
	}
	for _, t := range tokens {
		kind, by, may, expires := string(t.Type), "-", t.Permissions.String(), "never"
		switch {
		case t.Session && t.By == "":
			kind, by = "session", "a link"
		case t.Session:
			kind, by, may = "session", t.By, perms[t.By].String()
		}
		if may == "" {
			may = "-"
		}
		if t.ExpiresAt != 0 {
			expires = localTime(t.ExpiresAt)
		}
		rows = append(rows, []string{plain(t.ID), plain(t.Name), plain(kind), may, localTime(t.CreatedAt), expires, plain(by)})
	}
	return rows
}

type tokenRevokeCmd struct {
	ID string `arg:"" help:"The id of the token or session, as kapi token ls shows it."`
}

func (c *tokenRevokeCmd) Run(a *app) error {
	return a.withStore(func(s store) error {
		if err := s.RemoveToken(context.Background(), c.ID); err != nil {
			return fmt.Errorf("%s: %w", shownID(c.ID), err)
		}
		return nil
	})
}

// withStore opens the store without joining it, calls f and closes the store.
func (a *app) withStore(f func(store) error) error {
	if err := a.storeOnly("token"); err != nil {
		return err
	}
	s, err := a.openStore(context.Background(), nil)
	if err != nil {
		return err
	}
	return errors.Join(f(s), s.Close())
}
