package supervise

import (
	"slices"
	"strconv"
	"strings"

	"github.com/kettubot/kapi/internal/proc"
)

// Environment variables that kapi sets for the command, and systemd's NOTIFY_SOCKET.
const (
	fenceVariable  = "KAPI_FENCE"
	NotifyVariable = "KAPI_NOTIFY"
	OuterVariable  = "NOTIFY_SOCKET"
	withinVariable = "KAPI_WITHIN"
)

// Within returns the ids of the actions that a command with this environment is part of, the outermost
// first. Some may have ended already: a daemon keeps the environment that it was started with.
func Within(env []string) (ids []string) {
	for _, name := range []string{withinVariable, proc.ActionVariable} {
		for _, entry := range env {
			if value, ok := strings.CutPrefix(entry, name+"="); ok {
				ids = append(ids, strings.Fields(value)...)
			}
		}
	}
	return ids
}

// Nonces returns the nonces in an environment (see proc.NonceVariable), the outermost first.
func Nonces(env []string) []string {
	var nonces []string
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, proc.NonceVariable+"="); ok {
			nonces = append(nonces, strings.Fields(value)...)
		}
	}
	return nonces
}

// Environ returns the environment of a command that does the work of an action: base without the
// variables in drop, plus KAPI_ACTION and KAPI_FENCE; plus KAPI_NONCE, with this action's nonce
// appended to those in base; plus KAPI_WITHIN if base is the environment of a command that does the
// work of another action; plus KAPI_NOTIFY and NOTIFY_SOCKET if notify isn't empty. If notify is empty,
// the socket of an enclosing kapi run is removed, as reports sent there would go to the enclosing
// action; a service manager's socket is kept.
func Environ(base, drop []string, action string, fence uint64, nonce, notify string) []string {
	set := []string{
		proc.ActionVariable + "=" + action, fenceVariable + "=" + strconv.FormatUint(fence, 10),
		proc.NonceVariable + "=" + strings.Join(append(Nonces(base), nonce), " "),
	}
	if outer := Within(base); len(outer) > 0 {
		set = append(set, withinVariable+"="+strings.Join(outer, " "))
	}
	if notify != "" {
		set = append(set, NotifyVariable+"="+notify, OuterVariable+"="+notify)
	}
	around := ""
	for _, entry := range base {
		if address, ok := strings.CutPrefix(entry, NotifyVariable+"="); ok {
			around = OuterVariable + "=" + address
		}
	}
	env := make([]string, 0, len(base)+len(set))
	for _, entry := range base {
		name, _, _ := strings.Cut(entry, "=")
		replaced := slices.ContainsFunc(set, func(s string) bool { return strings.HasPrefix(s, name+"=") })
		others := name == NotifyVariable || entry == around
		if !replaced && !others && !slices.Contains(drop, name) {
			env = append(env, entry)
		}
	}
	return append(env, set...)
}
