package peer

import (
	"slices"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/store"
)

// Each process that the keeper finds has to be neglected for a while of its own, and under one verdict.
func TestNeglected(t *testing.T) {
	var now time.Duration
	s := &survivors{sweeper: &sweeper{opts: &Options{sinceBoot: func() time.Duration { return now }}}}
	s.forget()
	a, b := proc.Process{Ref: proc.Ref{PID: 1}}, proc.Process{Ref: proc.Ref{PID: 2}}
	const long = 3 * neglectedFor / 2
	for _, c := range []struct {
		name string
		at   time.Duration
		seq  uint64
		left []proc.Process
		want []proc.Process
	}{
		{"the first", 0, 1, []proc.Process{a}, nil},
		{"a new one", long, 1, []proc.Process{a, b}, []proc.Process{a}},
		{"both", 2 * long, 1, []proc.Process{a, b}, []proc.Process{a, b}},
		{"another verdict", 2 * long, 2, []proc.Process{a, b}, nil},
		{"somebody has asked one", 3*long - 1, 2, []proc.Process{b}, []proc.Process{b}},
		{"nobody", 3 * long, 2, nil, nil},
		{"it is seen anew", 4 * long, 2, []proc.Process{b}, nil},
	} {
		now = c.at
		e := &entry{Record: store.Record{Action: kapi.Action{ID: "a", Seq: c.seq, Status: kapi.StatusRunning}}}
		if got := s.neglected(e, c.left); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestReadAsked(t *testing.T) {
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
		if got := readAsked(c.notes, here).has(asked); got != c.want {
			t.Errorf("%s: got %t", c.name, got)
		}
	}
}
