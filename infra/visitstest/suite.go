// Package visitstest is the promise that everything that counts visits to links
// keeps, as a suite of tests.
package visitstest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Counters is what the suite is about.
type Counters interface {
	Add(ctx context.Context, account domain.AccountID, link domain.LinkID, n uint64) error
	Of(ctx context.Context, account domain.AccountID, link domain.LinkID) (uint64, time.Time, error)
}

// Run holds what open makes against the promise.
func Run(t *testing.T, open func(*testing.T) Counters) {
	const acct, link = "acct_1", "lnk_1"
	want := func(t *testing.T, c Counters, account domain.AccountID, link domain.LinkID, n uint64) {
		t.Helper()
		got, at, err := c.Of(t.Context(), account, link)
		if err != nil || got != n || at.IsZero() != (n == 0) {
			t.Errorf("got %d, the last at %s, %v, want %d", got, at, err, n)
		}
	}
	add := func(t *testing.T, c Counters, account domain.AccountID, link domain.LinkID, n uint64) {
		t.Helper()
		if err := c.Add(t.Context(), account, link, n); err != nil {
			t.Error(err)
		}
	}
	for name, test := range map[string]func(*testing.T, Counters){
		"a link that nobody opened has no visits": func(t *testing.T, c Counters) { want(t, c, acct, link, 0) },
		"visits add up": func(t *testing.T, c Counters) {
			add(t, c, acct, link, 2)
			add(t, c, acct, link, 40)
			want(t, c, acct, link, 42)
		},
		"links are counted apart, by their accounts too": func(t *testing.T, c Counters) {
			add(t, c, acct, link, 1)
			add(t, c, "acct_2", link, 2)
			want(t, c, acct, link, 1)
			want(t, c, acct, "lnk_2", 0)
		},
		"none is lost of those that come at once": func(t *testing.T, c Counters) {
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					for range 10 {
						add(t, c, acct, link, 1)
					}
				})
			}
			all.Wait()
			want(t, c, acct, link, 80)
		},
		"the last visit is the newest one": func(t *testing.T, c Counters) {
			add(t, c, acct, link, 1)
			_, before, _ := c.Of(t.Context(), acct, link)
			add(t, c, acct, link, 1)
			if _, after, err := c.Of(t.Context(), acct, link); err != nil || after.Before(before) || after.Location() != time.UTC {
				t.Errorf("got %s, %v, want a time in UTC not before %s", after, err, before)
			}
		},
		"what is no link is refused": func(t *testing.T, c Counters) {
			for _, id := range []string{"", "a.b", "*", ">"} {
				if c.Add(t.Context(), acct, domain.LinkID(id), 1) == nil || c.Add(t.Context(), domain.AccountID(id), link, 1) == nil {
					t.Errorf("%q was counted", id)
				}
				if _, _, err := c.Of(t.Context(), acct, domain.LinkID(id)); err == nil {
					t.Errorf("%q was read", id)
				}
			}
		},
		"nothing is done after ctx": func(t *testing.T, c Counters) {
			ctx, stop := context.WithCancel(t.Context())
			stop()
			_, _, err := c.Of(ctx, acct, link)
			if c.Add(ctx, acct, link, 1) == nil || err == nil {
				t.Error("got no error after ctx ended")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}
