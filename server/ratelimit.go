package server

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/kettubot/kapi/internal/wire"
)

const (
	// maxBuckets bounds the memory of one kind of limit to a few MB. Above it, new clients share one
	// bucket.
	maxBuckets = 16384
	// sweepEvery is how often full buckets are dropped. Nothing is lost, since new buckets are full.
	sweepEvery = time.Second
)

// limits has the token buckets of one kind of limit, one for each client. Nil is no limit.
type limits struct {
	name   string
	global bool // the limit is on all requests of the client
	rate   rate.Limit
	burst  int

	mu     sync.Mutex
	of     map[string]*rate.Limiter
	others *rate.Limiter // shared by clients above maxBuckets
	swept  time.Time
}

// newLimits returns nil, which is no limit, for a rate that is not positive and finite, and for a negative
// burst.
func newLimits(name string, global bool, perSecond float64, burst int) *limits {
	if perSecond <= 0 || burst < 0 || math.IsInf(perSecond, 0) || math.IsNaN(perSecond) {
		return nil
	}
	return &limits{
		name: name, global: global, rate: rate.Limit(perSecond), burst: max(burst, 1),
		of: make(map[string]*rate.Limiter),
	}
}

// An allowance is the state of a client's limit.
type allowance struct {
	of   *limits // nil: no limit
	ok   bool    // the request is allowed
	left float64 // requests left after this one
	at   time.Time
}

// take takes one request from the client's bucket, if there is one left.
func (l *limits) take(client string) allowance { return l.look(client, 1) }

// peek reports whether take would be allowed.
func (l *limits) peek(client string) allowance {
	a := l.look(client, 0)
	a.ok = a.of == nil || a.left > 1-1e-9 // take allows for the same rounding error
	return a
}

func (l *limits) look(client string, n int) allowance {
	if l == nil {
		return allowance{ok: true}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.swept) >= sweepEvery {
		l.sweep(now)
	}
	bucket := l.bucket(client)
	ok := bucket.AllowN(now, n)
	return allowance{of: l, ok: ok, left: bucket.TokensAt(now), at: now}
}

func (l *limits) bucket(client string) *rate.Limiter {
	bucket := l.of[client]
	switch {
	case bucket != nil:
	case len(l.of) < maxBuckets:
		bucket = rate.NewLimiter(l.rate, l.burst)
		l.of[client] = bucket
	default:
		if l.others == nil {
			l.others = rate.NewLimiter(l.rate, l.burst)
		}
		bucket = l.others
	}
	return bucket
}

func (l *limits) sweep(now time.Time) {
	l.swept = now
	for client, bucket := range l.of {
		if bucket.TokensAt(now) >= float64(l.burst) {
			delete(l.of, client)
		}
	}
}

// writeHeaders writes the five headers. Reset is the time when the bucket is full again.
func (a allowance) writeHeaders(h http.Header) {
	if a.of == nil {
		return
	}
	full := a.until(float64(a.of.burst))
	// The oldest clients read whole seconds, so they are rounded up.
	reset := math.Ceil(float64(a.at.Add(full).UnixMilli()) / 1000)
	h.Set("X-RateLimit-Limit", strconv.Itoa(a.of.burst))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(int(max(a.left, 0))))
	h.Set("X-RateLimit-Reset", strconv.FormatFloat(reset, 'f', 0, 64))
	h.Set("X-RateLimit-Reset-After", strconv.FormatFloat(seconds(full), 'f', -1, 64))
	h.Set("X-RateLimit-Bucket", a.of.name)
}

// until returns how long it takes until the bucket has want requests.
func (a allowance) until(want float64) time.Duration {
	wait := max(want-a.left, 0) / float64(a.of.rate) * float64(time.Second)
	return time.Duration(min(wait, float64(100*365*24*time.Hour)))
}

// refusal returns nil if the request is allowed.
func (a allowance) refusal() error {
	if a.ok {
		return nil
	}
	return &limitError{a.until(1), a.of.global}
}

// seconds rounds up to milliseconds, so that a client that waits that long has waited long enough.
func seconds(d time.Duration) float64 {
	return math.Ceil(float64(d)/float64(time.Millisecond)) / 1000
}

// A limitError refuses a request above its client's rate limit.
type limitError struct {
	wait   time.Duration
	global bool
}

func (e *limitError) Error() string { return fmt.Sprintf("rate limited for %v", e.wait) }

func (e *limitError) answer(w *recorder) {
	wait := max(seconds(e.wait), 0.001)
	w.Header().Set("Retry-After", strconv.FormatFloat(math.Ceil(wait), 'f', 0, 64))
	w.sendJSON(http.StatusTooManyRequests, wire.Limited{Message: "You are being rate limited", RetryAfter: wait, Global: e.global})
}
