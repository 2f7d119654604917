package auth

import (
	"fmt"
	"slices"
	"strings"
)

// Permissions is a set of kAPI's permission bits. Bits without a name here are kept, but have no
// meaning to kapi.
type Permissions uint64

const (
	// Owner is kAPI's OWNER. It implies Admin.
	Owner Permissions = 1 << 0
	// Kettu is kAPI's KETTU, the bot itself. It implies Admin.
	Kettu Permissions = 1 << 2
	// Admin is kAPI's ADMIN: it allows everything with actions. It implies ReadMetrics and RunActions.
	Admin Permissions = 1 << 3
	// ReadMetrics is kAPI's READ_METRICS: it allows reading the metrics.
	ReadMetrics Permissions = 1 << 9
	// RunActions is kapi's own; its bit is above all of kAPI's. It allows starting actions, and
	// reporting on, listing, reading and cancelling those that the same identity started. A runner needs
	// nothing else.
	RunActions Permissions = 1 << 30
)

// Has reports whether p has all permissions of q, including implied ones.
func (p Permissions) Has(q Permissions) bool {
	if p&(Owner|Kettu) != 0 {
		p |= Admin
	}
	if p&Admin != 0 {
		p |= ReadMetrics | RunActions
	}
	return p&q == q
}

// String returns the names of the bits of p, without implied ones, as ParsePermissions takes
// them; no bits is "". Bits without a name are added as one hexadecimal number.
func (p Permissions) String() string {
	var names []string
	for _, n := range permissionNames() {
		if p&n.bit != 0 {
			names = append(names, n.name)
			p &^= n.bit
		}
	}
	if p != 0 {
		names = append(names, fmt.Sprintf("%#x", uint64(p)))
	}
	return strings.Join(names, ",")
}

// ParsePermissions reads a comma-separated list of case-insensitive names; "" is none.
func ParsePermissions(list string) (Permissions, error) {
	var p Permissions
	if strings.TrimSpace(list) == "" {
		return 0, nil
	}
	known := permissionNames()
	for want := range strings.SplitSeq(list, ",") {
		want = strings.TrimSpace(want)
		i := slices.IndexFunc(known, func(n permissionName) bool { return strings.EqualFold(n.name, want) })
		if i < 0 {
			var names []string
			for _, n := range known {
				names = append(names, n.name)
			}
			return 0, fmt.Errorf("unknown permission %q (there are: %s)", want, strings.Join(names, ", "))
		}
		p |= known[i].bit
	}
	return p, nil
}

type permissionName struct {
	bit  Permissions
	name string
}

// permissionNames lists the bits that have a name, in ascending order.
func permissionNames() []permissionName {
	return []permissionName{{Owner, "owner"}, {Kettu, "kettu"}, {Admin, "admin"}, {ReadMetrics, "metrics"}, {RunActions, "run"}}
}
