package main

import "time"

// An estimate predicts when an operation will end, from the progress seen while it was watched. The
// zero value has seen none.
type estimate struct {
	since   time.Time // the time of the first sample ever
	samples []sample  // those in the window, oldest first, with growing progress
	finish  time.Time
}

type sample struct {
	at       time.Time
	progress float64
}

const (
	// Fewer samples, or samples that span less time or progress, give no prediction.
	estimateAfter    = 5 * time.Second
	estimateProgress = 0.01
	estimateSamples  = 4
	// There is no prediction if one half of the samples is more than estimateSpread times as fast as
	// the other.
	estimateSpread = 3
	// maxSamples is the number of intervals in the window; fewer than twice as many samples are kept.
	maxSamples = 64
	// recentAtLeast is the least length of the window. The window is half the time watched, if that is
	// longer.
	recentAtLeast = 30 * time.Second
	// estimateSmoothing is the weight of a new prediction; the rest is that of the old one.
	estimateSmoothing = 0.3
)

// observe takes a sample of the progress, nil if that is unknown.
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
			e.samples = e.samples[:n-1] // too close to the one before
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

// window is how far back samples count.
func (e *estimate) window(now time.Time) time.Duration {
	return max(recentAtLeast, now.Sub(e.since)/2)
}

// predict returns when the operation will end. ok is false if that would be a guess.
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

// speed returns the progress per second.
func speed(from, to sample) float64 {
	return (to.progress - from.progress) / max(to.at.Sub(from.at).Seconds(), 1e-9)
}

// left returns the remaining time, and false if that would be a guess.
func (e *estimate) left(now time.Time) (time.Duration, bool) {
	if e.finish.IsZero() || !now.Before(e.finish) {
		return 0, false
	}
	var pause time.Duration // the longest time between two samples
	for i, s := range e.samples[1:] {
		pause = max(pause, s.at.Sub(e.samples[i].at))
	}
	if quiet := now.Sub(e.samples[len(e.samples)-1].at); quiet > max(estimateAfter, 3*pause) {
		return 0, false
	}
	return e.finish.Sub(now), true
}
