package load

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets that are at most 1/128 wide of what they
// hold, up to two minutes. Adding neither allocates nor locks.
type histogram struct {
	buckets [bucketsPerOctave * octaves]uint32
	count   uint64
	most    time.Duration
}

const (
	octaveBits       = 7
	bucketsPerOctave = 1 << octaveBits
	octaves          = 31 // 2^(7+30) ns is 137 s
)

func (h *histogram) add(d time.Duration) {
	h.buckets[bucketOf(d)]++
	h.count++
	h.most = max(h.most, d)
}

// bucketOf is linear up to 128 ns, and from there on 128 buckets for each
// doubling.
func bucketOf(d time.Duration) int {
	n := uint64(max(d, 0))
	if n < bucketsPerOctave {
		return int(n)
	}
	octave := bits.Len64(n) - octaveBits // from 1 on
	i := octave*bucketsPerOctave + int(n>>(octave-1)) - bucketsPerOctave
	return min(i, bucketsPerOctave*octaves-1)
}

// upper is the greatest duration of a bucket.
func upper(i int) time.Duration {
	octave, rest := i/bucketsPerOctave, i%bucketsPerOctave
	if octave == 0 {
		return time.Duration(rest)
	}
	return time.Duration(uint64(bucketsPerOctave+rest+1)<<(octave-1) - 1)
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.buckets {
		h.buckets[i] += n
	}
	h.count += other.count
	h.most = max(h.most, other.most)
}

// quantile is the duration that a share q of those added did not exceed.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(q * float64(h.count))
	var seen uint64
	for i, n := range h.buckets {
		if seen += uint64(n); seen > rank {
			return min(upper(i), h.most)
		}
	}
	return h.most
}
