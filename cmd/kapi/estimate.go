package main

import "time"

// An estimate is how long an operation still takes, by how its progress went while it was
// watched. The zero value knows nothing.
type estimate struct {
	since   time.Time // of the first sample there was
	samples []sample  // those that still count, oldest first, progress growing
	finish  time.Time
}

type sample struct {
	at       time.Time
	progress float64
}

const (
	// What moved for less than this, or by less, or in fewer steps, says little.
	estimateAfter    = 5 * time.Second
	estimateProgress = 0.01
	estimateSamples  = 4
	// The second half of what is known may be so many times as fast as the first, or as slow.
	estimateSpread = 3
	// maxSamples says how fine the samples are; fewer than twice as many are kept.
	maxSamples = 64
	// recentAtLeast is how much of the past counts, or half of all of it if that is more.
	recentAtLeast = 30 * time.Second
	// estimateSmoothing is how much a sample moves what is shown.
	estimateSmoothing = 0.3
)

// observe takes note of the progress at a moment, nil if it is unknown.
func (e *estimate) observe(now time.Time, progress *float64) {
	if progress == nil {
		*e = estimate{}
		return
	}
	s := sample{now, *progress}
	if n := len(e.samples); n > 0 {
		switch last := e.samples[n-1]; {
		case s.progress < last.progress: // a new phase
			*e = estimate{}
		case s.progress == last.progress:
			return
		case n > 1 && now.Sub(e.samples[n-2].at) < e.window(now)/maxSamples:
			e.samples = e.samples[:n-1] // finer than needed
		}
	}
	if len(e.samples) == 0 {
		e.since = now
	}
	e.samples = append(e.samples, s)
	oldest := now.Add(-e.window(now))
	for len(e.samples) > estimateSamples && e.samples[1].at.Before(oldest) {
		e.samples = e.samples[1:]
	}
	finish, ok := e.predict()
	switch {
	case !ok:
		e.finish = time.Time{}
	case e.finish.IsZero():
		e.finish = finish
	default:
		e.finish = e.finish.Add(time.Duration(estimateSmoothing * float64(finish.Sub(e.finish))))
	}
}

// window is how much of the past counts.
func (e *estimate) window(now time.Time) time.Duration {
	return max(recentAtLeast, now.Sub(e.since)/2)
}

// predict is false if it would be a guess.
func (e *estimate) predict() (finish time.Time, ok bool) {
	n := len(e.samples)
	if n < estimateSamples {
		return finish, false
	}
	first, middle, last := e.samples[0], e.samples[n/2], e.samples[n-1]
	if last.at.Sub(first.at) < estimateAfter || last.progress-first.progress < estimateProgress {
		return finish, false
	}
	early, late := speed(first, middle), speed(middle, last)
	if late > estimateSpread*early || early > estimateSpread*late {
		return finish, false
	}
	left := (1 - last.progress) / speed(first, last)
	return last.at.Add(time.Duration(left * float64(time.Second))), true
}

// speed is in progress a second.
func speed(from, to sample) float64 {
	return (to.progress - from.progress) / max(to.at.Sub(from.at).Seconds(), 1e-9)
}

// left returns how long the operation still takes; it is false if that would be a guess.
func (e *estimate) left(now time.Time) (time.Duration, bool) {
	if e.finish.IsZero() || !now.Before(e.finish) {
		return 0, false
	}
	var pause time.Duration // the longest between two moves
	for i, s := range e.samples[1:] {
		pause = max(pause, s.at.Sub(e.samples[i].at))
	}
	if quiet := now.Sub(e.samples[len(e.samples)-1].at); quiet > max(estimateAfter, 3*pause) {
		return 0, false
	}
	return e.finish.Sub(now), true
}
