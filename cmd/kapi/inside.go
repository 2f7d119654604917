package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/supervise"
	"github.com/kettubot/kapi/internal/wellformed"
)

// A command inside an action finds where that is: a kapi among what it runs means the same place, and
// not the default store, which may be another. It finds no token that it was not given.

// environ is what a command inside an action of the place has of this process's environment.
func (a *app) environ(p place, passToken bool) []string {
	store, schema, listen, token := "", "", "", ""
	switch {
	case a.server != "":
	case isPostgres(a.store):
		store, schema, listen = passed("KAPI_STORE", a.store), a.storeSchema, passed("KAPI_STORE_LISTEN", a.storeListen)
	default:
		store = p.String() // the path is absolute in it
	}
	if passToken {
		token = a.token
	}
	set := [][2]string{
		{"KAPI_STORE", store},
		{"KAPI_STORE_SCHEMA", schema},
		{"KAPI_STORE_LISTEN", listen},
		{"KAPI_SERVER", a.server},
		{"KAPI_TOKEN", token},
	}
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return slices.ContainsFunc(set, func(s [2]string) bool { return strings.HasPrefix(entry, s[0]+"=") })
	})
	for _, s := range set {
		if s[1] != "" {
			env = append(env, s[0]+"="+s[1])
		}
	}
	return env
}

// passed is what of a DSN a command gets: all of it if it comes from there already, no password of a
// flag's.
func passed(variable, dsn string) string {
	if dsn == wellformed.Trim(os.Getenv(variable)) {
		return dsn
	}
	return withoutPassword(dsn)
}

// around is the action that this process is inside of, "" if it is in none.
func around() string {
	if within := supervise.Within(os.Environ()); len(within) > 0 {
		return within[len(within)-1]
	}
	return ""
}

// knowsPlace refuses the default store to a command inside an action: that has said where it is.
func (a *app) knowsPlace() error {
	if id := around(); id != "" && a.server == "" && a.store == "" {
		return fmt.Errorf("%w: this is a command inside action %s, and neither $KAPI_STORE nor $KAPI_SERVER says where that is: use --store or --server",
			kapi.ErrUnavailable, id)
	}
	return nil
}

// whatItLacks explains to a command inside an action why its server doesn't know it.
func (a *app) whatItLacks(err error) error {
	id := around()
	if id == "" || a.server == "" || a.given["server"] || a.token != "" || !errors.Is(err, auth.ErrNoToken) {
		return err
	}
	return fmt.Errorf("%w: server %s wants a token, which a command inside an action, as this one in %s, is not given: use kapi run --pass-token around it",
		kapi.ErrUnavailable, a.server, id)
}
