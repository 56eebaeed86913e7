package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// welcome waits until the node can decide, opens the first account if there is
// none, and says how to begin.
func (n *node) welcome(ctx context.Context, addr net.Addr, ownerToken string, out io.Writer) error {
	if err := waitUntil(ctx, func() bool { return n.gate.MayDecide() == nil }); err != nil {
		return nil // the node is stopping
	}
	token, err := n.firstStart(ctx, ownerToken)
	if err != nil {
		return err
	}
	n.opened.Store(true)
	url := "http://" + addr.String()
	w := &words{out: out}
	w.line("Behalf %s on %s, log %s", version(), url, n.where())
	if n.broker.server != nil && n.cfg.NATSListen != "off" {
		w.line("NATS for agents and consumers on nats://%s (an agent key or a member token is the password)", n.broker.server.Addr())
	}
	if token != "" {
		w.begin(url, token, ownerToken == "", time.Now())
	}
	return w.err
}

func (n *node) where() string {
	if n.cfg.NATS != "" {
		return "at " + redact(n.cfg.NATS)
	}
	return fmt.Sprintf("in %s (%s)", n.cfg.Data, n.cfg.Durability)
}

// firstStart opens the log's first account, unless it is open. It returns the
// owner's token if it did. Of two nodes that start at once, one does.
func (n *node) firstStart(ctx context.Context, token string) (string, error) {
	id := n.log.FirstAccount()
	account, err := n.passports.Account(id)
	switch {
	case err != nil:
		return "", err
	case account.Opened() && n.cfg.ResetOwner:
		return n.desk.ResetOwner(ctx, id, token)
	case account.Opened():
		if _, _, known := n.passports.ByToken(domain.HashToken(token)); token != "" && !known {
			n.logs.WarnContext(ctx, "BEHALF_OWNER_TOKEN is no member's token: it presets the first start's only; --reset-owner-token makes it the owner's")
		}
		return "", nil
	}
	if status, err := n.log.Status(ctx, 0); err != nil || status.Head > 0 && status.Followed {
		if known, _ := n.passports.Account(id); err != nil || !known.Opened() {
			return "", cmp.Or(err, fmt.Errorf("the log holds %d records, but not the account %s it was made for; it is damaged: restore it from a backup", status.Head, id))
		}
		return "", nil // another node has just opened it
	}
	if token == "" {
		token = handlers.NewMemberToken()
	}
	cmd := domain.OpenAccount{
		Name: n.cfg.AccountName, Currency: domain.Currency(n.cfg.Currency),
		Owner: domain.MemberID(domain.MemberPrefix + handlers.NewULID(time.Now())),
		Token: domain.HashToken(token),
	}
	if err := n.openAccount(ctx, id, cmd); err != nil {
		return "", fmt.Errorf("open the first account: %w", err)
	}
	account, err = n.passports.Account(id)
	if owner, _ := account.Member(cmd.Owner); err == nil && owner.Token != cmd.Token {
		return "", nil // another node was faster, and printed its token
	}
	return token, err
}

// openAccount tries until it is known that the account is open: a cluster that
// has just made a stream may not answer for it yet.
func (n *node) openAccount(ctx context.Context, id domain.AccountID, cmd domain.OpenAccount) error {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	for {
		_, err := n.desk.OpenAccount(ctx, id, cmd)
		if rule, ok := errors.AsType[*domain.RuleError](err); err == nil || ok && rule.Code == domain.Conflict {
			return nil
		}
		if _, ok := errors.AsType[*handlers.Unavailable](err); !ok {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// words writes lines, and remembers the first that could not be written.
type words struct {
	out io.Writer
	err error
}

func (w *words) line(format string, args ...any) {
	if _, err := fmt.Fprintf(w.out, format+"\n", args...); err != nil && w.err == nil {
		w.err = fmt.Errorf("write to standard output: %w", err)
	}
}

// begin prints what a new user pastes next. Each command works as it is.
func (w *words) begin(url, token string, show bool, now time.Time) {
	cli := programName()
	w.line("")
	if show {
		w.line("This is the owner's token. It is shown once and kept only as a hash:")
		w.line("")
		w.line("  export BEHALF_TOKEN=%s", token)
	} else {
		w.line("The owner's token is the one in BEHALF_OWNER_TOKEN:")
		w.line("")
		w.line("  export BEHALF_TOKEN=$BEHALF_OWNER_TOKEN")
	}
	w.line("  export BEHALF_URL=%s", url)
	w.line("")
	w.line("Register an agent, grant it a passport, and ask what it may do:")
	w.line("")
	w.line("  OLLIE=$(%s agents register --id agent_ollie --name Ollie --key-only)", cli)
	w.line("  %s permissions grant agent_ollie --action purchase --vendor '*.ticketmaster.com' --vendor coachella.com \\", cli)
	w.line("    --max-amount 500.00 --currency USD --expires %s", exampleExpiry(now).Format(time.RFC3339))
	w.line("  BEHALF_TOKEN=$OLLIE %s verify --action purchase --vendor coachella.com --amount 120", cli)
	w.line("")
	w.line("The same verify with curl, this time for too much:")
	w.line("")
	w.line(`  curl -s $BEHALF_URL/v1/verify -H "Authorization: Bearer $OLLIE" -H 'Content-Type: application/json' \`)
	w.line(`    -d '{"agentId":"agent_ollie","action":"purchase","vendor":"coachella.com","amount":742}'`)
	w.line("")
}

// exampleExpiry is the next new year that is a month away or more.
func exampleExpiry(now time.Time) time.Time {
	return time.Date(now.UTC().AddDate(0, 1, 0).Year()+1, 1, 1, 0, 0, 0, 0, time.UTC)
}

// programName is how the user started us, so that what we print can be pasted.
func programName() string {
	path, err := os.Executable()
	if err != nil || strings.Contains(path, "go-build") { // where go run puts it
		return "go run ./cmd/behalf"
	}
	if filepath.Base(os.Args[0]) == os.Args[0] {
		return os.Args[0]
	}
	return path
}
