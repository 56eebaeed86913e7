package outbound

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		value string
		want  time.Duration
		ok    bool
	}{
		{"0", 0, true},
		{"120", 2 * time.Minute, true},
		{" 7 ", 7 * time.Second, true},
		{"0000000000000000000000000000000000000000000005", 5 * time.Second, true},
		{"315360000", longestRetryAfter, true}, // ten years
		{"99999999999999999999999999999999", longestRetryAfter, true},
		{now.Add(time.Minute).Format(http.TimeFormat), time.Minute, true},
		{now.Add(-time.Minute).Format(http.TimeFormat), 0, true},
		{now.Add(time.Hour).Format(time.RFC850), time.Hour, true},
		{now.AddDate(10, 0, 0).Format(http.TimeFormat), longestRetryAfter, true},
		{"Fri, 31 Dec 9999 23:59:59 GMT", longestRetryAfter, true},
		{"", 0, false},
		{"-1", 0, false},
		{"+1", 0, false},
		{"1.5", 0, false},
		{"1e3", 0, false},
		{"soon", 0, false},
		{"120, 60", 0, false},
		{now.Format(time.RFC3339), 0, false},
		{strings.Repeat("9", 65), 0, false},
	} {
		if got, ok := retryAfter(test.value, now); got != test.want || ok != test.ok {
			t.Errorf("%q: got %v, %t, want %v, %t", test.value, got, ok, test.want, test.ok)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"120", "Fri, 31 Dec 9999 23:59:59 GMT", "18446744073709551616", "-0"} {
		f.Add(seed, int64(0))
	}
	f.Fuzz(func(t *testing.T, value string, now int64) {
		got, ok := retryAfter(value, time.Unix(now, 0))
		if got < 0 || got > longestRetryAfter || !ok && got != 0 {
			t.Errorf("got %v, %t", got, ok)
		}
	})
}
