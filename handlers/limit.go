package handlers

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limiter bounds how often each key may pass: a credential, an address. Every
// node counts for itself. The nil Limiter lets everything pass.
type Limiter struct {
	// perSecond and burst are what one key gets.
	perSecond rate.Limit
	burst     int
	now       func() time.Time

	mu sync.Mutex
	// buckets and swept are guarded by mu.
	buckets map[string]*rate.Limiter
	swept   time.Time
}

// NewLimiter makes a limiter of perSecond and a burst of twice that for each
// key. With perSecond 0 there is no limit and the Limiter is nil.
func NewLimiter(perSecond int, now func() time.Time) *Limiter {
	if perSecond <= 0 {
		return nil
	}
	return &Limiter{perSecond: rate.Limit(perSecond), burst: 2 * perSecond, now: now, buckets: map[string]*rate.Limiter{}}
}

// Pass takes one from the key's bucket, or returns how long to wait.
func (l *Limiter) Pass(key string) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now() // with the lock held: a bucket that sees time go back gives it twice
	b := l.bucket(key, now)
	if b.AllowN(now, 1) {
		return nil
	}
	missing := 1 - b.TokensAt(now)
	return limited(time.Duration(missing / float64(l.perSecond) * float64(time.Second)))
}

// Limited is too many requests. Nothing is allowed by it.
type Limited struct{ Wait time.Duration }

func (e *Limited) Error() string {
	return "too many requests; wait " + e.Wait.Round(time.Millisecond).String() + " and try again"
}

func limited(wait time.Duration) error { return &Limited{Wait: wait} }

// bucket is called with mu held, like sweep.
func (l *Limiter) bucket(key string, now time.Time) *rate.Limiter {
	l.sweep(now)
	b := l.buckets[key]
	if b == nil {
		b = rate.NewLimiter(l.perSecond, l.burst)
		l.buckets[key] = b
	}
	return b
}

// sweep forgets full buckets, which say no more than new ones would. It bounds
// what callers who invent keys can make us hold.
func (l *Limiter) sweep(now time.Time) {
	const every, soon = 10 * time.Second, 1 << 16
	if now.Sub(l.swept) < every && len(l.buckets) < soon {
		return
	}
	if now.Sub(l.swept) < time.Second {
		return
	}
	l.swept = now
	for key, b := range l.buckets {
		if b.TokensAt(now) >= float64(l.burst) {
			delete(l.buckets, key)
		}
	}
}
