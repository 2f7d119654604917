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
)

// Environ is the environment for a command that does the work of an action: base
// without the variables in drop, with KAPI_ACTION and KAPI_FENCE; and with KAPI_NOTIFY and
// NOTIFY_SOCKET if there is a notify socket.
func Environ(base, drop []string, action string, fence uint64, notify string) []string {
	set := []string{proc.ActionVariable + "=" + action, fenceVariable + "=" + strconv.FormatUint(fence, 10)}
	if notify != "" {
		set = append(set, NotifyVariable+"="+notify, OuterVariable+"="+notify)
	}
	env := make([]string, 0, len(base)+len(set))
	for _, entry := range base {
		name, _, _ := strings.Cut(entry, "=")
		replaced := slices.ContainsFunc(set, func(s string) bool { return strings.HasPrefix(s, name+"=") })
		if !replaced && !slices.Contains(drop, name) {
			env = append(env, entry)
		}
	}
	return append(env, set...)
}
