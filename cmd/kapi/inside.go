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

// A command inside an action gets the action's store or server in its environment, so that a nested kapi
// uses the same one rather than the default store. It gets the token only with --pass-token.

// environ returns the environment for a command inside an action of the place: that of this process, with
// the variables that name the place.
func (a *app) environ(p place, passToken bool) []string {
	store, schema, listen, token := "", "", "", ""
	switch {
	case a.server != "":
	case isPostgres(a.store):
		store, schema, listen = passed("KAPI_STORE", a.store), a.storeSchema, passed("KAPI_STORE_LISTEN", a.storeListen)
	default:
		store = p.String() // with an absolute path
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

// passed returns the DSN to pass to a command. Its password is left out if it comes from a flag rather
// than from the variable.
func passed(variable, dsn string) string {
	if dsn == wellformed.Trim(os.Getenv(variable)) {
		return dsn
	}
	return withoutPassword(dsn)
}

// around returns the id of the innermost action that this process is inside of, "" if there is none.
func around() string {
	if within := supervise.Within(os.Environ()); len(within) > 0 {
		return within[len(within)-1]
	}
	return ""
}

// knowsPlace returns an error if a command inside an action would use the default store, as the action
// may be in another.
func (a *app) knowsPlace() error {
	if id := around(); id != "" && a.server == "" && a.store == "" {
		return fmt.Errorf("%w: this command is inside action %s, but neither $KAPI_STORE nor $KAPI_SERVER is set: use --store or --server",
			kapi.ErrUnavailable, id)
	}
	return nil
}

// whatItLacks explains the error of a command inside an action that a server refused because it has no token:
// kapi run passes the token only with --pass-token.
func (a *app) whatItLacks(err error) error {
	id := around()
	if id == "" || a.server == "" || a.given["server"] || a.token != "" || !errors.Is(err, auth.ErrNoToken) {
		return err
	}
	return fmt.Errorf("%w: server %s requires a token, and this command inside action %s was not given one: start the action with kapi run --pass-token",
		kapi.ErrUnavailable, a.server, id)
}
