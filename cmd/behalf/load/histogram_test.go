package load

import (
	"testing"
	"time"
)

func TestAHistogramIsExactToOnePercent(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{0, 1, 127, 128, 129, 255, 256, 999, time.Microsecond, 1234567, time.Second, 100 * time.Second} {
		if got := upper(bucketOf(d)); got < d || float64(got-d) > 0.01*float64(d) {
			t.Errorf("%s is counted as up to %s", d, got)
		}
		if i := bucketOf(d); i > 0 && upper(i-1) >= d {
			t.Errorf("%s is not in the bucket before, which goes up to %s", d, upper(i-1))
		}
	}
	bucketOf(-1)               // a clock that jumps
	bucketOf(1000 * time.Hour) // a machine that slept
	var a, b histogram         // 1 to 1000 µs, in two parts
	for i := range 1000 {
		h := &a
		if i%3 == 0 {
			h = &b
		}
		h.add(time.Duration(i+1) * time.Microsecond)
	}
	a.merge(&b)
	for q, want := range map[float64]time.Duration{.5: 501, .9: 901, .99: 991, 1: 1000} {
		want *= time.Microsecond
		if got := a.quantile(q); got < want*99/100 || got > want*101/100 {
			t.Errorf("quantile %g: got %s, want %s", q, got, want)
		}
	}
	if a.count != 1000 || a.most != time.Millisecond {
		t.Errorf("got %d up to %s, want 1000 up to 1ms", a.count, a.most)
	}
}
