package proc

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// NonceVariable is the environment variable by which the processes that do the work of an
// action are recognised. Its value is one nonce for each action that the process is part of,
// the outermost first, with spaces between. A nonce is a secret of the user who runs the
// action: the store keeps a hash of it, so that a reader of the store can't make a process of
// their own look like one of the action's.
const NonceVariable = "KAPI_NONCE"

// NewNonce returns a nonce of 130 random bits.
func NewNonce() string { return rand.Text() }

// A Mark is the SHA-256 of a nonce, in hexadecimal digits.
type Mark string

// MarkOf returns the mark of a nonce.
func MarkOf(nonce string) Mark {
	sum := sha256.Sum256([]byte(nonce))
	return Mark(hex.EncodeToString(sum[:]))
}

// marksIn returns the marks of the nonces in an environment, whose entries are separated by NULs.
func marksIn(environ string) (marks []Mark) {
	for entry := range strings.SplitSeq(environ, "\x00") {
		if value, ok := strings.CutPrefix(entry, NonceVariable+"="); ok {
			for nonce := range strings.FieldsSeq(value) {
				marks = append(marks, MarkOf(nonce))
			}
		}
	}
	return marks
}

// A Ref names one process of this boot and PID namespace. The zero Ref names none.
type Ref struct {
	PID int `json:"pid"`
	// StartTime is as in Identity.
	StartTime uint64 `json:"start_time"`
}

// Work is what a runner records about the processes that do the work of an action, so that
// another peer recognises those that are left once the runner is dead. It means something
// only in the runner's own boot and PID namespace.
type Work struct {
	// Root is the process that the runner started. Nothing older is part of the work.
	Root Ref `json:"root"`
	// Mark is that of the nonce in the root's environment.
	Mark Mark `json:"mark"`
	// Groups and Sessions are the ids of the process groups and sessions that processes of the
	// work were seen in. Others may be in them, too.
	Groups   []int `json:"groups,omitempty"`
	Sessions []int `json:"sessions,omitempty"`
	// ControlGroup has what the paths of control groups are relative to, and then the control
	// groups of the root as the kernel shows them.
	ControlGroup string `json:"control_group,omitempty"`
	// Reaper is the process that most likely adopts the runner's descendants once the runner is
	// gone. It is zero if that isn't known.
	Reaper Ref `json:"reaper,omitzero"`
	// Ancestors are the runner's ancestors, nearest first. Each of them may have made itself the
	// reaper.
	Ancestors []Ref `json:"ancestors,omitempty"`
}

// Merge adds groups and sessions that processes of the work were seen in. It reports whether
// any of them is new.
func (w *Work) Merge(groups, sessions []int) (changed bool) {
	add := func(to *[]int, ids []int) {
		for _, id := range ids {
			if !slices.Contains(*to, id) && len(*to) < maxKin {
				*to, changed = append(*to, id), true
			}
		}
	}
	add(&w.Groups, groups)
	add(&w.Sessions, sessions)
	return changed
}

// maxKin bounds the groups and the sessions of a work. Work that makes hundreds is still recognised by
// its nonce and by descent.
const maxKin = 64

// Remains is what is left of a work whose runner is gone.
type Remains struct {
	// Sure are the living processes that are certainly part of the work, by ascending pid.
	Sure []Process
	// Maybe are living processes that may be part of the work: too little of them can be seen to
	// tell. They are in order of pid, too.
	Maybe []Process
	// Hidden is true if there may be processes of the work that this process can't see.
	Hidden bool
}

// None reports whether it is proven that nothing is left.
func (r Remains) None() bool { return len(r.Sure) == 0 && len(r.Maybe) == 0 && !r.Hidden }

// A Process is a process of this machine, with what people need to know about it.
type Process struct {
	Ref
	Name string // the kernel's short name, at most 15 bytes on Linux
	// Inner is true if it is also part of an action within this one.
	Inner bool
	// Starting is true for a process of Maybe that is within an exec: in a moment, more of it can be seen.
	Starting bool
}
