package peer

import (
	"testing"

	"github.com/kettubot/kapi/internal/proc"
)

func TestWasAsked(t *testing.T) {
	const here, there, apart = "pid:[1] time:[1]", "pid:[2] time:[1]", "pid:[2] time:[2]"
	asked := proc.Ref{PID: 12, StartTime: 3400}
	for _, c := range []struct {
		name, notes string
		want        bool
	}{
		{"nobody", "", false},
		{"from here", askedLine(asked, here), true},
		{"another pid", askedLine(proc.Ref{PID: 13, StartTime: 3400}, here), false},
		{"a pid that was used again", askedLine(proc.Ref{PID: 12, StartTime: 3401}, here), false},
		{"several", askedLine(proc.Ref{PID: 13, StartTime: 3400}, here) + askedLine(asked, here), true},
		{"from another PID namespace", askedLine(proc.Ref{PID: 7, StartTime: 3400}, there), true},
		{"one that began at another time, from another PID namespace", askedLine(proc.Ref{PID: 12, StartTime: 3401}, there), false},
		{"any, from another time namespace", askedLine(proc.Ref{PID: 7, StartTime: 1}, apart), true},
		{"the oldest notes were cut off", "0 pid:[1] time:[1]\n" + askedLine(asked, here), true},
		{"within a number", "00 pid:[1] time:[1]\n", false},
		{"in another form", "something else\n\n 12\n12 3400\n", false},
	} {
		if got := wasAsked(c.notes, asked, here); got != c.want {
			t.Errorf("%s: got %t", c.name, got)
		}
	}
}
