// Package memlanes keeps the state of delivery lanes, and the attempts to
// deliver, in memory, with every promise of the real one, and breaks them on
// request. It is for tests.
package memlanes

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Store is what several clients share. The zero Store is empty.
type Store struct {
	mu sync.Mutex
	// All below is guarded by mu.
	revision uint64
	values   map[string]value
	attempts []attempt
	named    map[string]bool
	changed  chan struct{} // closed with the next change of a value
}

type value struct {
	data     []byte // nil when it was removed
	revision uint64
}

type attempt struct {
	account                 domain.AccountID
	endpoint, outcome, name string
	data                    []byte
}

// Client is one node's use of a store. Its hooks may be set before it is used.
type Client struct {
	Store *Store
	// Before is called before a write, which fails with its error without being
	// written, and After when it was written, so that its outcome is unknown. A
	// write is a "put", "remove" or "attempt", of a key. Reading a value is a
	// "read", to Before.
	Before, After func(write, key string) error
}

func (c *Client) before(write, key string) error {
	if c.Before == nil {
		return nil
	}
	return c.Before(write, key)
}

func (c *Client) after(write, key string) error {
	if c.After == nil {
		return nil
	}
	return c.After(write, key)
}

// under reports whether a key begins with the tokens of a prefix.
func under(key, prefix string) bool { return key == prefix || strings.HasPrefix(key, prefix+".") }

// Values calls yield with the values under a prefix, oldest write first.
func (c *Client) Values(ctx context.Context, prefix string, live bool, yield func(string, []byte, uint64) error) error {
	for seen := uint64(0); ; {
		if err := errors.Join(ctx.Err(), c.before("read", prefix)); err != nil {
			return err
		}
		keys, values, changed := c.Store.since(prefix, seen)
		for i, v := range values {
			if v.data == nil && seen == 0 {
				continue
			}
			if err := yield(keys[i], slices.Clone(v.data), v.revision); err != nil {
				return err
			}
		}
		if !live {
			return nil
		}
		if len(values) > 0 {
			seen = values[len(values)-1].revision
		}
		seen = max(seen, 1)
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Store) since(prefix string, revision uint64) (keys []string, values []value, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, v := range s.values {
		if under(key, prefix) && v.revision > revision {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return int(s.values[a].revision) - int(s.values[b].revision) })
	for _, key := range keys {
		values = append(values, s.values[key])
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return keys, values, s.changed
}

// Value reads the newest value, or returns [domain.ErrNotRecorded].
func (c *Client) Value(ctx context.Context, key string) ([]byte, uint64, error) {
	if err := errors.Join(ctx.Err(), c.before("read", key)); err != nil {
		return nil, 0, err
	}
	c.Store.mu.Lock()
	defer c.Store.mu.Unlock()
	v := c.Store.values[key]
	if v.data == nil {
		return nil, 0, domain.ErrNotRecorded
	}
	return slices.Clone(v.data), v.revision, nil
}

// Put writes a value in place of a revision, or returns [domain.ErrMoved].
func (c *Client) Put(ctx context.Context, key string, data []byte, revision uint64) (uint64, error) {
	if err := errors.Join(ctx.Err(), c.before("put", key)); err != nil {
		return 0, err
	}
	written, err := c.Store.put(key, data, revision)
	if err != nil {
		return 0, err
	}
	return written, c.after("put", key)
}

func (s *Store) put(key string, data []byte, revision uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.values[key]; now.data == nil && revision != 0 || now.data != nil && now.revision != revision {
		return 0, domain.ErrMoved
	}
	if data = slices.Clone(data); data == nil {
		data = []byte{}
	}
	s.set(key, data)
	return s.revision, nil
}

// set sets a value. The caller holds mu.
func (s *Store) set(key string, data []byte) {
	if s.values == nil {
		s.values = map[string]value{}
	}
	s.revision++
	s.values[key] = value{data, s.revision}
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Remove removes a value, if there is one.
func (c *Client) Remove(ctx context.Context, key string) error {
	if err := errors.Join(ctx.Err(), c.before("remove", key)); err != nil {
		return err
	}
	c.Store.mu.Lock()
	if c.Store.values[key].data != nil {
		c.Store.set(key, nil)
	}
	c.Store.mu.Unlock()
	return c.after("remove", key)
}

// retry is how long a write of an attempt that failed is left alone.
const retry = 10 * time.Millisecond

// Attempt stores an attempt, and says so when that has succeeded.
func (c *Client) Attempt(account domain.AccountID, endpoint, outcome, name string, data []byte) func(context.Context) error {
	a := attempt{account, endpoint, outcome, name, slices.Clone(data)}
	try := func() error {
		if err := c.before("attempt", endpoint); err != nil {
			return err
		}
		c.Store.add(a)
		return c.after("attempt", endpoint)
	}
	err := try()
	return func(ctx context.Context) error {
		for err != nil {
			t := time.NewTimer(retry)
			select {
			case <-t.C:
				err = try()
			case <-ctx.Done():
				t.Stop()
				return ctx.Err()
			}
		}
		return nil
	}
}

func (s *Store) add(a attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.named == nil {
		s.named = map[string]bool{}
	}
	if !s.named[a.name] {
		s.named[a.name] = true
		s.attempts = append(s.attempts, a)
	}
}

// Attempts yields the newest attempts of an endpoint, newest first.
func (c *Client) Attempts(ctx context.Context, account domain.AccountID, endpoint string, outcomes []string, before uint64, most int,
	yield func(uint64, string, []byte) error,
) error {
	if err := errors.Join(ctx.Err(), c.before("read", endpoint)); err != nil {
		return err
	}
	c.Store.mu.Lock()
	all := slices.Clone(c.Store.attempts)
	c.Store.mu.Unlock()
	for i := len(all) - 1; i >= 0 && most > 0; i-- {
		a, seq := all[i], uint64(i+1)
		if a.account != account || a.endpoint != endpoint || !slices.Contains(outcomes, a.outcome) || before != 0 && seq >= before {
			continue
		}
		if err := yield(seq, a.outcome, slices.Clone(a.data)); err != nil {
			return err
		}
		most--
	}
	return nil
}
