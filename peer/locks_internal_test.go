package peer

import (
	"testing"

	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// TestLockProof: a lock that is held proves life; one that is free proves death only where this kernel would know,
// and says nothing against what is seen of the process itself.
func TestLockProof(t *testing.T) {
	const ours, another = "boot", "of another machine, or a container's own"
	for _, c := range []struct {
		name string
		boot string
		life rules.Life // by the process
		lock store.Lock
		seen bool // held, before
		want rules.Life
	}{
		{"held", another, rules.LifeUnknown, store.LockHeld, false, rules.LifeAlive},
		{"free, of this boot", ours, rules.LifeUnknown, store.LockFree, false, rules.LifeGone},
		{"free, of another", another, rules.LifeUnknown, store.LockFree, false, rules.LifeUnknown},
		{"free, of another, once held here", another, rules.LifeUnknown, store.LockFree, true, rules.LifeGone},
		{"free, without a boot id", "", rules.LifeUnknown, store.LockFree, false, rules.LifeUnknown},
		{"not known, once held here", ours, rules.LifeUnknown, store.LockUnknown, true, rules.LifeUnknown},
		{"free, and the process is there", ours, rules.LifeAlive, store.LockFree, true, rules.LifeAlive},
		{"held, and the process is gone", ours, rules.LifeGone, store.LockHeld, false, rules.LifeGone},
	} {
		s := sweeper{self: &store.RunnerRecord{BootID: ours}, locked: map[string]bool{"r": c.seen}}
		x := &examined{record: &store.RunnerRecord{ID: "r", BootID: c.boot, Lock: c.lock}}
		x.Life = c.life
		s.judgeLock("r", x)
		if x.Life != c.want {
			t.Errorf("%s: life %d, want %d", c.name, x.Life, c.want)
		}
		if c.lock == store.LockHeld && !s.locked["r"] {
			t.Errorf("%s: it isn't remembered", c.name)
		}
	}
}
