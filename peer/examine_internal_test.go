package peer

import (
	"testing"

	"github.com/kettubot/kapi/internal/proc"
)

// A look is to be repeated soon only if nothing but processes within an exec may be left.
func TestEvident(t *testing.T) {
	starting, other := proc.Process{Name: "kapi", Starting: true}, proc.Process{Name: "sh"}
	for name, c := range map[string]struct {
		left proc.Remains
		want bool
	}{
		"nothing is left":        {},
		"one is within an exec":  {left: proc.Remains{Maybe: []proc.Process{starting, starting}}, want: true},
		"one of two is":          {left: proc.Remains{Maybe: []proc.Process{starting, other}}},
		"more may be hidden":     {left: proc.Remains{Maybe: []proc.Process{starting}, Hidden: true}},
		"one is surely the work": {left: proc.Remains{Sure: []proc.Process{other}}},
	} {
		if got := evident(c.left); got.Starting != c.want || len(got.Maybe) != len(c.left.Maybe) || got.Hidden != c.left.Hidden {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
