package peer

import (
	"sync/atomic"
	"time"
)

// The signs of life of this process, as its resumable operations see them. Other peers may take over what it runs once
// it has been silent for the second limit (Options.GiveUp), which it can't learn while it doesn't reach the store. So
// it stops such operations itself, a margin before that.
type signs struct {
	sinceBoot func() time.Duration
	limit     time.Duration // after the last sign of life
	last      atomic.Pointer[sign]
	timer     *time.Timer // calls when the limit may have passed
}

// A sign is when a sign of life was sent, by three clocks.
type sign struct {
	boot  time.Duration // since boot, with the time asleep
	awake time.Time     // monotonic, without it
	wall  int64         // in nanoseconds; can be set
}

func (s *signs) init(lease, giveUp time.Duration, sinceBoot func() time.Duration, passed func()) {
	s.sinceBoot, s.limit = sinceBoot, giveUp-lease/leaseParts
	s.timer = time.AfterFunc(s.limit, passed)
	s.timer.Stop()
}

// now returns a sign that is sent now.
func (s *signs) now() *sign {
	now := time.Now()
	return &sign{boot: s.sinceBoot(), awake: now, wall: now.UnixNano()}
}

// note notes a sign that has reached the store.
func (s *signs) note(sent *sign) {
	for last := s.last.Load(); last == nil || last.boot < sent.boot; last = s.last.Load() {
		if s.last.CompareAndSwap(last, sent) {
			break
		}
	}
	s.watch()
}

// watch sets the timer for the time when the limit will have passed.
func (s *signs) watch() { s.timer.Reset(max(s.left(s.last.Load(), s.sinceBoot()), sleepTolerance)) }

// left returns how much time is left, at a time since boot, after the last sign.
func (s *signs) left(last *sign, at time.Duration) time.Duration { return s.limit - (at - last.boot) }

// late reports whether the limit has passed since the last sign, or does very soon. It may be called very often.
func (s *signs) late() bool {
	last := s.last.Load()
	if last == nil {
		return true
	}
	// To read the clock that counts the time asleep is a system call. As long as the two others agree, the machine has
	// not slept.
	now := time.Now()
	awake := now.Sub(last.awake)
	if slept := time.Duration(now.UnixNano()-last.wall) - awake; slept.Abs() < sleepTolerance {
		return awake >= s.limit-sleepTolerance
	}
	return s.left(last, s.sinceBoot()) <= 0
}

// sleepTolerance is how far the wall clock may be from the monotonic one until it counts as set, or as having slept.
const sleepTolerance = 100 * time.Millisecond

// stopLate stops the resumable operations if by now the lease was not renewed in time.
func (l *lease) stopLate() { l.stopLateAt(l.signs.sinceBoot()) }

func (l *lease) stopLateAt(now time.Duration) {
	last := l.signs.last.Load()
	if last == nil {
		return // none has begun
	}
	if l.signs.left(last, now) > 0 {
		l.signs.watch()
		return
	}
	for _, h := range l.ops.all() {
		if h.defined != nil && h.defined.resumable() {
			h.defined.tooLate()
		}
	}
}
