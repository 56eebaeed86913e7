// Package memvisits counts in memory how often links to passports were opened,
// with every promise of the real one, and breaks them on request. It is for tests.
package memvisits

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Counters is what all nodes of a test share. The zero Counters is empty.
type Counters struct {
	// Fail is called before each use, which fails with its error. It may be nil,
	// and is set before the first use.
	Fail func() error

	mu sync.Mutex
	// counts is guarded by mu.
	counts map[key]count
}

type key struct {
	account domain.AccountID
	link    domain.LinkID
}

type count struct {
	n  uint64
	at time.Time
}

// Add counts visits to a link.
func (c *Counters) Add(ctx context.Context, account domain.AccountID, link domain.LinkID, n uint64) error {
	if err := c.check(ctx, account, link); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[key]count{}
	}
	k := key{account, link}
	c.counts[k] = count{c.counts[k].n + n, time.Now().UTC()}
	return nil
}

// Of is how often a link was opened, and when last.
func (c *Counters) Of(ctx context.Context, account domain.AccountID, link domain.LinkID) (uint64, time.Time, error) {
	if err := c.check(ctx, account, link); err != nil {
		return 0, time.Time{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.counts[key{account, link}]
	return found.n, found.at, nil
}

func (c *Counters) check(ctx context.Context, account domain.AccountID, link domain.LinkID) error {
	if !domain.ValidID(string(account)) || !domain.ValidID(string(link)) {
		return fmt.Errorf("%q of %q is no link", link, account)
	}
	if c.Fail != nil {
		if err := c.Fail(); err != nil {
			return err
		}
	}
	return ctx.Err()
}
