package peer

import (
	"testing"

	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// TestLockProof: a lock that is held proves that the runner is alive. A free lock proves that it is dead only if this
// kernel would see the lock. Neither overrules what is known about the process itself.
func TestLockProof(t *testing.T) {
	const ours, another = "boot", "of another machine, or a container's own"
	for _, c := range []struct {
		name string
		boot string
		life rules.Life // what is known about the process
		lock store.Lock
		seen bool // whether the lock was seen as held before
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
			t.Errorf("%s: the lock isn't remembered as held", c.name)
		}
	}
}
