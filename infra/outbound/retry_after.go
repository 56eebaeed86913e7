package outbound

import (
	"net/http"
	"strings"
	"time"
)

// longestRetryAfter is what a longer wait is read as.
const longestRetryAfter = 366 * 24 * time.Hour

// retryAfter reads the header of that name: seconds, or an HTTP date. ok is
// false if it is neither. A date that has passed is no wait.
func retryAfter(value string, now time.Time) (wait time.Duration, ok bool) {
	value = strings.TrimSpace(value)
	if value == "" || len(value) > 64 {
		return 0, false
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds := 0
		for _, digit := range value {
			seconds = min(10*seconds+int(digit-'0'), int(longestRetryAfter/time.Second))
		}
		return time.Duration(seconds) * time.Second, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), longestRetryAfter), true
}
