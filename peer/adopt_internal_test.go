package peer

import (
	"testing"
	"time"
)

func TestAdopter(t *testing.T) {
	mine := func(id string) bool { return id == "mine" }
	a := adopter{own: mine}
	start := time.Now()
	for i, c := range []struct {
		ids   []string
		after time.Duration
		want  bool
	}{
		{nil, 0, false},
		{[]string{"theirs"}, 0, false},
		{[]string{"theirs", "more"}, adoptOthersAfter - 1, false},
		{[]string{"more"}, adoptOthersAfter, false}, // somebody does it
		{[]string{"more"}, 2*adoptOthersAfter - 1, true},
		{[]string{"more"}, 3 * adoptOthersAfter, false}, // under way
	} {
		if got := a.look(c.ids, start.Add(c.after)); got != c.want {
			t.Errorf("look %d: %v, want %v", i, got, c.want)
		}
	}
	if a = (adopter{own: mine}); !a.look([]string{"mine"}, start) {
		t.Error("its own are adopted at once")
	}
}

// What is recorded while starts are being adopted is not left to the slow poll.
func TestAdopterAgain(t *testing.T) {
	a := adopter{own: func(string) bool { return true }}
	now := time.Now()
	if !a.look([]string{"first"}, now) {
		t.Fatal("its own is not adopted at once")
	}
	if a.look([]string{"first", "second"}, now) {
		t.Error("two at once")
	}
	if !a.done() {
		t.Error("the second, which was seen meanwhile, is forgotten")
	}
	if a.look(nil, now); a.done() {
		t.Error("again, although nothing was seen meanwhile")
	}
	if !a.look([]string{"third"}, now) {
		t.Error("the third is not adopted")
	}
}
