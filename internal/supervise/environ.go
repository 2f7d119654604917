package supervise

import (
	"slices"
	"strconv"
	"strings"

	"github.com/kettubot/kapi/internal/proc"
)

// The names of the variables that a command finds, and of the one that service managers know.
const (
	fenceVariable  = "KAPI_FENCE"
	NotifyVariable = "KAPI_NOTIFY"
	OuterVariable  = "NOTIFY_SOCKET"
	withinVariable = "KAPI_WITHIN"
)

// Within returns the ids of the actions that a command with this environment is part of, the
// outermost first. Some may have ended: a daemon keeps the environment that it was started with.
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

// Environ is the environment for a command that does the work of an action: base
// without the variables in drop, with KAPI_ACTION and KAPI_FENCE; with KAPI_NONCE, to whose nonces
// that of this action is added; with KAPI_WITHIN if base is
// that of a command which does the work of another action; and with KAPI_NOTIFY and
// NOTIFY_SOCKET if there is a notify socket. If there is none, the socket of a kapi run around
// this one is not the command's to find, whose reports would go to that one's action; the
// socket of a service manager is.
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
