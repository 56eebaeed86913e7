package domain

import (
	"fmt"
	"strings"
	"time"
)

// Duration is a length of time, as JSON "24h", "30m" or "1h30m": hours, minutes
// and seconds, in whole seconds.
type Duration time.Duration

// MarshalText writes the shortest form: "24h", not "24h0m0s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d Duration) String() string {
	s := time.Duration(d).String()
	if cut, ok := strings.CutSuffix(s, "m0s"); ok {
		s = cut + "m"
	}
	if cut, ok := strings.CutSuffix(s, "h0m"); ok {
		s = cut + "h"
	}
	return s
}

// UnmarshalText reads hours, minutes and seconds.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil || v < 0 || v%time.Second != 0 || strings.Trim(string(b), "0123456789hms") != "" || strings.Contains(string(b), "ms") {
		return fmt.Errorf(`want a length of time such as "24h", "30m" or "90s", in whole seconds`)
	}
	*d = Duration(v)
	return nil
}
