package natsevents

import (
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

func TestThePublisherGivesWayToThoseWhoDecide(t *testing.T) {
	now := time.Unix(1000, 0)
	stretch := func(n int, each, ago time.Duration) []domain.Recorded {
		list := make([]domain.Recorded, n)
		for i := range list {
			list[i].LoggedAt = now.Add(-ago).Add(time.Duration(i) * each)
		}
		return list
	}
	for _, c := range []struct {
		name    string
		records []domain.Recorded
		took    time.Duration
		want    time.Duration
	}{
		{"many at once", stretch(500, 100*time.Microsecond, 100*time.Millisecond), 10 * time.Millisecond, 30 * time.Millisecond},
		{"many at once, for long", stretch(500, 100*time.Microsecond, 100*time.Millisecond), time.Second, longestWait},
		{"a few now and then", stretch(5, 100*time.Millisecond, time.Second), 10 * time.Millisecond, 0},
		{"one", stretch(1, 0, 0), 10 * time.Millisecond, 0},
		{"many that have waited for long", stretch(500, 100*time.Microsecond, 6*time.Second), 10 * time.Millisecond, 0},
	} {
		if got := giveWay(c.records, now, c.took); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}
