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
		{[]string{"more"}, adoptOthersAfter, false}, // an adoption has begun
		{[]string{"more"}, 2*adoptOthersAfter - 1, true},
		{[]string{"more"}, 3 * adoptOthersAfter, false}, // under way
	} {
		if got := a.look(c.ids, start.Add(c.after)); got != c.want {
			t.Errorf("look %d: %v, want %v", i, got, c.want)
		}
	}
	if a = (adopter{own: mine}); !a.look([]string{"mine"}, start) {
		t.Error("the peer's own start is not due at once")
	}
}

// A start that is recorded during an adoption is not left to the slow poll.
func TestAdopterAgain(t *testing.T) {
	a := adopter{own: func(string) bool { return true }}
	now := time.Now()
	if !a.look([]string{"first"}, now) {
		t.Fatal("the peer's own start is not due at once")
	}
	if a.look([]string{"first", "second"}, now) {
		t.Error("a second adoption began during the first")
	}
	if !a.done() {
		t.Error("the second start, seen during the adoption, is forgotten")
	}
	if a.look(nil, now); a.done() {
		t.Error("another adoption is due, although nothing was seen meanwhile")
	}
	if !a.look([]string{"third"}, now) {
		t.Error("the third start is not due")
	}
}
