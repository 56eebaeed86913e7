package main

import (
	"crypto/ed25519"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/infra/webhooksig"
)

// openReceipts makes what signs receipts, unless there are to be none.
func (n *node) openReceipts() error {
	if n.cfg.Receipts == 0 {
		return nil
	}
	keys, err := webhooksig.OpenOrMakeMaster(n.cfg.WebhookKey)
	if err != nil {
		return err
	}
	n.desk.Receipts = &handlers.Receipts{
		Passports: &n.passports, Lifetime: n.cfg.Receipts,
		Key: func(account domain.AccountID, version int) (ed25519.PrivateKey, error) {
			return keys.ReceiptKey(string(account), version)
		},
	}
	return nil
}

// checkReceipts is what is wrong with how receipts are to be signed. The log
// tells a second consumption by its name, which it forgets after the window for
// idempotency keys: by then the receipt must have expired on the slowest clock.
func (c *serveConfig) checkReceipts(bad func(string, ...any)) {
	switch longest := c.DedupeWindow - 2*c.MaxSkew - handlers.ClockSlack; {
	case c.Receipts == 0:
	case c.Receipts < time.Second:
		bad("--receipts %s is too short; use 1s or more, or 0 for none", c.Receipts)
	case c.Receipts > longest:
		bad("--receipts %s is too long: with --dedupe-window %s the longest is %s; lower it, or raise the window", c.Receipts, c.DedupeWindow, longest)
	}
}
