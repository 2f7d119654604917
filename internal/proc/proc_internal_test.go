package proc

import (
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if loseLeader() {
		return
	}
	goleak.VerifyTestMain(m)
}

func TestSelfIsKnown(t *testing.T) {
	id := Self()
	if id.PID != os.Getpid() || id.Host == "" {
		t.Errorf("Self() = %+v, want pid %d and a host", id, os.Getpid())
	}
	if again := Self(); again != id {
		t.Errorf("Self() = %+v, then %+v", id, again)
	}
	if id.Stopped() {
		t.Error("the calling process is stopped")
	}
}

func TestNothingIsProvenOfNobody(t *testing.T) {
	if life := (Identity{}).Life(); life != Unknown {
		t.Errorf("Identity{}.Life() = %v, want unknown", life)
	}
}

func TestSinceBootGoesOn(t *testing.T) {
	began, clock := SinceBoot(), time.Now()
	for time.Since(clock) < 5*time.Millisecond {
	}
	if went := SinceBoot() - began; went < 5*time.Millisecond {
		t.Errorf("SinceBoot went on by %v in 5ms", went)
	}
}

func TestLifeString(t *testing.T) {
	for life, want := range map[Life]string{Unknown: "unknown", Alive: "alive", Gone: "gone", 7: "Life(7)"} {
		if got := life.String(); got != want {
			t.Errorf("Life(%d).String() = %q, want %q", int(life), got, want)
		}
	}
}
