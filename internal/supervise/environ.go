package supervise

import (
	"slices"
	"strconv"
	"strings"

	"github.com/kettubot/kapi/internal/proc"
)

const fenceVariable = "KAPI_FENCE"

// Environ is the environment for a command that does the work of an action: base
// without the variables in drop, with KAPI_ACTION and KAPI_FENCE.
func Environ(base, drop []string, action string, fence uint64) []string {
	env := make([]string, 0, len(base)+2)
	for _, entry := range base {
		name, _, _ := strings.Cut(entry, "=")
		if name != proc.ActionVariable && name != fenceVariable && !slices.Contains(drop, name) {
			env = append(env, entry)
		}
	}
	return append(env, proc.ActionVariable+"="+action, fenceVariable+"="+strconv.FormatUint(fence, 10))
}
