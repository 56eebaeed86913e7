package memlanes_test

import (
	"errors"
	"testing"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/lanestest"
	"github.com/behalf-platform/behalf/infra/memlanes"
)

func TestStore(t *testing.T) {
	t.Parallel()
	lanestest.Run(t, func(*testing.T) (lanestest.Store, func(*testing.T) lanestest.Store) {
		s := &memlanes.Store{}
		return &memlanes.Client{Store: s}, func(*testing.T) lanestest.Store { return &memlanes.Client{Store: s} }
	})
}

// TestFaults has each write fail before it is written and after.
func TestFaults(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, written := range map[string]bool{"not written": false, "written": true} {
		t.Run(name, func(t *testing.T) {
			s := &memlanes.Store{}
			c := &memlanes.Client{Store: s}
			fails := 1
			fail := func(write, _ string) error {
				if write == "read" || fails == 0 {
					return nil
				}
				fails--
				return broken
			}
			if written {
				c.After = fail
			} else {
				c.Before = fail
			}
			if _, err := c.Put(t.Context(), "k", []byte("v"), 0); !errors.Is(err, broken) {
				t.Errorf("got %v, want %v", err, broken)
			}
			if _, _, err := c.Value(t.Context(), "k"); written != (err == nil) || !written && !errors.Is(err, domain.ErrNotRecorded) {
				t.Errorf("read: got %v, want it there: %v", err, written)
			}
			fails = 2
			if err := c.Attempt("a", "e", "ok", "n", nil)(t.Context()); err != nil {
				t.Error(err)
			}
			n := 0
			err := c.Attempts(t.Context(), "a", "e", []string{"ok"}, 0, 9, func(uint64, string, []byte) error { n++; return nil })
			if err != nil || n != 1 {
				t.Errorf("got %d attempts and %v, want 1", n, err)
			}
		})
	}
}
