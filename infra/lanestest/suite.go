// Package lanestest is what every store of delivery lanes must do.
package lanestest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Store is what the suite is about.
type Store interface {
	Values(ctx context.Context, prefix string, live bool, yield func(key string, value []byte, revision uint64) error) error
	Value(ctx context.Context, key string) ([]byte, uint64, error)
	Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	Remove(ctx context.Context, key string) error
	Attempt(account domain.AccountID, endpoint, outcome, name string, value []byte) func(context.Context) error
	Attempts(ctx context.Context, account domain.AccountID, endpoint string, outcomes []string, before uint64, most int,
		yield func(seq uint64, outcome string, value []byte) error) error
}

// Run runs the suite. Open makes an empty store, and returns what opens it for
// another node.
func Run(t *testing.T, open func(t *testing.T) (Store, func(t *testing.T) Store)) {
	for name, test := range map[string]func(context.Context, *testing.T, Store, Store){
		"a value is read as it was written":                 readsBack,
		"a write in place of another revision is refused":   refusesMoved,
		"one of several writers wins":                       oneWins,
		"what was removed is not there, and can be again":   removes,
		"values are read by the tokens of their keys":       readsByPrefix,
		"who watches sees what is there and what comes":     watches,
		"watching ends with the error of yield":             endsWithError,
		"attempts are read from the newest on":              readsAttempts,
		"attempts are read page by page":                    pagesAttempts,
		"attempts are found among many of others":           findsAttempts,
		"an attempt of a name is stored once":               storesOnce,
		"nothing waits for longer than its context":         listens,
		"an endpoint that nothing was sent to has no tries": readsNone,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			one, join := open(t)
			test(ctx, t, one, join(t))
		})
	}
}

func mustPut(ctx context.Context, t *testing.T, s Store, key, value string, revision uint64) uint64 {
	t.Helper()
	written, err := s.Put(ctx, key, []byte(value), revision)
	if err != nil {
		t.Fatal(err)
	}
	return written
}

func mustRead(ctx context.Context, t *testing.T, s Store, key, want string, revision uint64) {
	t.Helper()
	got, at, err := s.Value(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want || at != revision {
		t.Errorf("%s: got %q at %d, want %q at %d", key, got, at, want, revision)
	}
}

func readsBack(ctx context.Context, t *testing.T, one, other Store) {
	if _, _, err := one.Value(ctx, "lane.0.a.b"); !errors.Is(err, domain.ErrNotRecorded) {
		t.Errorf("got %v, want %v", err, domain.ErrNotRecorded)
	}
	first := mustPut(ctx, t, one, "lane.0.a.b", "one", 0)
	mustPut(ctx, t, one, "lane.0.a.c", "else", 0)
	mustRead(ctx, t, other, "lane.0.a.b", "one", first)
	second := mustPut(ctx, t, other, "lane.0.a.b", "two", first)
	mustRead(ctx, t, one, "lane.0.a.b", "two", second)
}

func refusesMoved(ctx context.Context, t *testing.T, one, other Store) {
	first := mustPut(ctx, t, one, "k", "one", 0)
	second := mustPut(ctx, t, other, "k", "two", first)
	for _, stale := range []uint64{0, first, second + 1} {
		if _, err := one.Put(ctx, "k", []byte("stale"), stale); !errors.Is(err, domain.ErrMoved) {
			t.Errorf("in place of %d: got %v, want %v", stale, err, domain.ErrMoved)
		}
	}
	if _, err := one.Put(ctx, "none", []byte("stale"), second); !errors.Is(err, domain.ErrMoved) {
		t.Errorf("in place of what is not there: got %v, want %v", err, domain.ErrMoved)
	}
	mustRead(ctx, t, one, "k", "two", second)
}

func oneWins(ctx context.Context, t *testing.T, one, other Store) {
	revision := uint64(0)
	for round := range 20 {
		var wg sync.WaitGroup
		won := make(chan uint64, 4)
		for i := range 4 {
			wg.Go(func() {
				written, err := []Store{one, other}[i%2].Put(ctx, "k", fmt.Appendf(nil, "%d.%d", round, i), revision)
				if err == nil {
					won <- written
				} else if !errors.Is(err, domain.ErrMoved) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("got %d winners, want 1", len(won))
		}
		revision = <-won
	}
}

func removes(ctx context.Context, t *testing.T, one, other Store) {
	if err := one.Remove(ctx, "k"); err != nil {
		t.Errorf("what is not there: %v", err)
	}
	first := mustPut(ctx, t, one, "k", "one", 0)
	for range 2 {
		if err := other.Remove(ctx, "k"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := one.Value(ctx, "k"); !errors.Is(err, domain.ErrNotRecorded) {
			t.Errorf("got %v, want %v", err, domain.ErrNotRecorded)
		}
	}
	if _, err := one.Put(ctx, "k", []byte("stale"), first); !errors.Is(err, domain.ErrMoved) {
		t.Errorf("got %v, want %v", err, domain.ErrMoved)
	}
	if got := mustValues(ctx, t, one, "k"); len(got) > 0 {
		t.Errorf("got %v, want none", got)
	}
	mustRead(ctx, t, one, "k", "again", mustPut(ctx, t, other, "k", "again", 0))
}

func mustValues(ctx context.Context, t *testing.T, s Store, prefix string) (found []string) {
	t.Helper()
	err := s.Values(ctx, prefix, false, func(key string, value []byte, _ uint64) error {
		found = append(found, key+"="+string(value))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func readsByPrefix(ctx context.Context, t *testing.T, one, other Store) {
	revision := mustPut(ctx, t, one, "lane.0.a", "old", 0)
	mustPut(ctx, t, one, "lane.0.a.b", "2", 0)
	mustPut(ctx, t, one, "lane.1.a", "3", 0)
	mustPut(ctx, t, one, "lane.01", "4", 0)
	mustPut(ctx, t, one, "lane.0.a", "1", revision)
	want := []string{"lane.0.a.b=2", "lane.0.a=1"}
	if got := mustValues(ctx, t, other, "lane.0"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := mustValues(ctx, t, other, "lane.0.a"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := mustValues(ctx, t, other, "lane.2"); len(got) > 0 {
		t.Errorf("got %v, want none", got)
	}
}

func watches(ctx context.Context, t *testing.T, one, other Store) {
	first := mustPut(ctx, t, one, "replay.0.a", "1", 0)
	ctx, stop := context.WithCancel(ctx)
	seen := make(chan string, 10)
	var wg sync.WaitGroup
	wg.Go(func() {
		err := other.Values(ctx, "replay.0", true, func(key string, value []byte, _ uint64) error {
			if value == nil {
				value = []byte("none")
			}
			seen <- key + "=" + string(value)
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
	})
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-seen:
			if got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		case <-ctx.Done():
			t.Fatalf("saw no %s", want)
		}
	}
	expect("replay.0.a=1")
	mustPut(ctx, t, one, "other", "1", 0)
	mustPut(ctx, t, one, "replay.0.b", "2", 0)
	expect("replay.0.b=2")
	mustPut(ctx, t, one, "replay.0.a", "3", first)
	expect("replay.0.a=3")
	if err := one.Remove(ctx, "replay.0.a"); err != nil {
		t.Fatal(err)
	}
	expect("replay.0.a=none")
	stop()
	wg.Wait()
}

func endsWithError(ctx context.Context, t *testing.T, one, _ Store) {
	mustPut(ctx, t, one, "a.b", "1", 0)
	enough := errors.New("enough")
	for _, live := range []bool{true, false} {
		if err := one.Values(ctx, "a", live, func(string, []byte, uint64) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("got %v, want %v", err, enough)
		}
	}
}

func mustTry(ctx context.Context, t *testing.T, s Store, endpoint, outcome, text string) {
	t.Helper()
	if err := s.Attempt("acct_a", endpoint, outcome, endpoint+text, []byte(text))(ctx); err != nil {
		t.Fatal(err)
	}
}

func mustAttempts(ctx context.Context, t *testing.T, s Store, endpoint string, outcomes []string, before uint64, most int) (found []string, oldest uint64) {
	t.Helper()
	err := s.Attempts(ctx, "acct_a", endpoint, outcomes, before, most, func(seq uint64, outcome string, value []byte) error {
		if oldest != 0 && seq >= oldest {
			t.Errorf("got %d after %d, want the newest first", seq, oldest)
		}
		oldest = seq
		found = append(found, outcome+" "+string(value))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found, oldest
}

var all = []string{"ok", "failed", "dead"}

func readsAttempts(ctx context.Context, t *testing.T, one, other Store) {
	for i, outcome := range []string{"failed", "failed", "ok", "dead", "ok"} {
		mustTry(ctx, t, one, "whe_a", outcome, fmt.Sprint(i))
		mustTry(ctx, t, one, "whe_b", outcome, fmt.Sprint("other", i))
	}
	for _, test := range []struct {
		outcomes []string
		most     int
		want     []string
	}{
		{all, 10, []string{"ok 4", "dead 3", "ok 2", "failed 1", "failed 0"}},
		{all, 2, []string{"ok 4", "dead 3"}},
		{[]string{"dead"}, 10, []string{"dead 3"}},
		{[]string{"failed", "dead"}, 2, []string{"dead 3", "failed 1"}},
	} {
		if got, _ := mustAttempts(ctx, t, other, "whe_a", test.outcomes, 0, test.most); !slices.Equal(got, test.want) {
			t.Errorf("%v: got %v, want %v", test.outcomes, got, test.want)
		}
	}
}

func pagesAttempts(ctx context.Context, t *testing.T, one, _ Store) {
	var want []string
	for i := range 25 {
		mustTry(ctx, t, one, "whe_a", "ok", fmt.Sprint(i))
		want = append(want, fmt.Sprint("ok ", i))
	}
	slices.Reverse(want)
	var got []string
	for before := uint64(0); ; {
		page, oldest := mustAttempts(ctx, t, one, "whe_a", all, before, 10)
		if len(page) == 0 {
			break
		}
		got, before = append(got, page...), oldest
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func findsAttempts(ctx context.Context, t *testing.T, one, _ Store) {
	mustTry(ctx, t, one, "whe_a", "ok", "first")
	var waits []func(context.Context) error
	for i := range 3000 {
		waits = append(waits, one.Attempt("acct_a", "whe_b", "ok", fmt.Sprint(i), []byte("x")))
	}
	for _, stored := range waits {
		if err := stored(ctx); err != nil {
			t.Fatal(err)
		}
	}
	mustTry(ctx, t, one, "whe_a", "dead", "last")
	for most, want := range map[int][]string{1: {"dead last"}, 9: {"dead last", "ok first"}} {
		if got, _ := mustAttempts(ctx, t, one, "whe_a", all, 0, most); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	if got, _ := mustAttempts(ctx, t, one, "whe_b", all, 0, 5000); len(got) != 3000 {
		t.Errorf("got %d, want 3000", len(got))
	}
}

func storesOnce(ctx context.Context, t *testing.T, one, other Store) {
	for _, s := range []Store{one, one, other} {
		mustTry(ctx, t, s, "whe_a", "ok", "same")
	}
	if got, _ := mustAttempts(ctx, t, one, "whe_a", all, 0, 10); !slices.Equal(got, []string{"ok same"}) {
		t.Errorf("got %v, want it once", got)
	}
}

func readsNone(ctx context.Context, t *testing.T, one, _ Store) {
	if got, _ := mustAttempts(ctx, t, one, "whe_a", all, 0, 10); got != nil {
		t.Errorf("got %v, want none", got)
	}
}

func listens(ctx context.Context, t *testing.T, one, _ Store) {
	ctx, stop := context.WithCancel(ctx)
	stop()
	if _, _, err := one.Value(ctx, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("read: got %v, want %v", err, context.Canceled)
	}
	if _, err := one.Put(ctx, "k", nil, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("write: got %v, want %v", err, context.Canceled)
	}
	if err := one.Values(ctx, "k", true, func(string, []byte, uint64) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("watch: got %v, want %v", err, context.Canceled)
	}
}
