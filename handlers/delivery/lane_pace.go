package delivery

import "time"

// bucket lets so much through in a second.
type bucket struct {
	rate, tokens float64
	at           time.Time
}

// take takes a token, or says when there will be one.
func (b *bucket) take(now time.Time) (time.Time, bool) {
	if b.rate <= 0 {
		return time.Time{}, true
	}
	burst := max(1, b.rate/10)
	if b.at.IsZero() {
		b.tokens = burst
	} else {
		b.tokens = min(burst, b.tokens+b.rate*now.Sub(b.at).Seconds())
	}
	b.at = now
	if b.tokens < 1 {
		missing := time.Duration((1 - b.tokens) / b.rate * float64(time.Second))
		return now.Add(max(missing, time.Millisecond)), false
	}
	b.tokens--
	return time.Time{}, true
}

// sample is how the last messages came out, each at its first attempt.
type sample struct {
	size, refused int
	results       []bool // true is refused; the oldest one is at next
	next          int
}

func (s *sample) add(refused bool) {
	if len(s.results) < s.size {
		s.results = append(s.results, refused)
	} else {
		if s.results[s.next] {
			s.refused--
		}
		s.results[s.next] = refused
		s.next = (s.next + 1) % s.size
	}
	if refused {
		s.refused++
	}
}

func (s *sample) clear() { *s = sample{size: s.size, results: s.results[:0]} }

// earlier is the earlier one of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
