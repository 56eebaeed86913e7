package handlers

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestWorkGivesWayToACrowd(t *testing.T) {
	tests := map[string]struct {
		asks     int           // that are in flight all the time
		leave    time.Duration // when one more comes and goes for the last time
		worked   time.Duration
		min, max time.Duration
	}{
		"nobody there":                {asks: 0, leave: time.Hour, worked: time.Second},
		"as many as can be decided":   {asks: 3, leave: time.Hour, worked: time.Second},
		"a crowd":                     {asks: 4, leave: time.Hour, worked: 100 * time.Millisecond, min: 1500 * time.Millisecond, max: 1500 * time.Millisecond},
		"a crowd, after long work":    {asks: 4, leave: time.Hour, worked: time.Minute, min: mostRest, max: mostRest},
		"a crowd that goes":           {asks: 4, leave: 100 * time.Millisecond, worked: time.Second, min: 100 * time.Millisecond, max: 100*time.Millisecond + 2*glance},
		"a crowd, after no work":      {asks: 4, leave: time.Hour},
		"a crowd, after a brief work": {asks: 4, leave: time.Hour, worked: time.Millisecond, min: 15 * time.Millisecond, max: 15 * time.Millisecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &Crowd{few: 4, now: time.Now}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				for range tt.asks {
					c.enter()
				}
				work := c.Work()
				time.Sleep(tt.worked)
				begun := time.Now()
				go func() {
					for ctx.Err() == nil && time.Since(begun) < tt.leave {
						c.enter()
						c.leave()
						_ = sleep(ctx, time.Millisecond) // the loop ends with it
					}
				}()
				synctest.Wait()
				work.Rest(ctx)
				if got := time.Since(begun); got < tt.min || got > tt.max {
					t.Errorf("got a rest of %s, want %s to %s", got, tt.min, tt.max)
				}
			})
		})
	}
}

func TestRestEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		c := &Crowd{now: time.Now}
		work := c.Work()
		c.enter()
		time.Sleep(time.Minute)
		begun := time.Now()
		work.Rest(ctx)
		if got := time.Since(begun); got != 0 {
			t.Errorf("got a rest of %s, want none", got)
		}
	})
}
